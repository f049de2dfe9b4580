"""The audit of each label, and its file."""

import json

from label_datasets import FINDINGS, THREE_CLASSES
from prepared_images import image

from beam_prep.dataset.image_stats import FEATURES, ImageStats
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import DEFAULT_LABELS
from beam_prep.planning.label_audits import REST, LabelAudits, make_audits


def images_of(widths: list[int], labels: list[tuple[int, tuple[int, ...]]]) -> list:
    """Makes an image of each width and label, of a patient each."""
    return [
        image(f"p{n}", n, label=label)._replace(stats=ImageStats(width, 600, 75, 5000, 0, 90_000), findings=findings)
        for n, (width, (label, findings)) in enumerate(zip(widths, labels, strict=True))
    ]


def test_the_file_is_read_back_and_a_broken_one_is_none(tmp_path):
    images = images_of([800 + n for n in range(9)] + [800] * 9, [(n // 9, ()) for n in range(18)])
    audits = make_audits(images, DEFAULT_LABELS)
    audits.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["audit.json"]
    assert LabelAudits.read(tmp_path, DEFAULT_LABELS) == audits
    content = json.loads((tmp_path / "audit.json").read_text())
    assert set(content) == {"num_images", "num_groups", "chance_auroc", "shortcuts"}
    for broken in ("", "[]", json.dumps({**content, "shortcuts": {}}), json.dumps({**content, "more": 1})):
        (tmp_path / "audit.json").write_text(broken)
        assert LabelAudits.read(tmp_path, DEFAULT_LABELS) is None
    assert LabelAudits.read(tmp_path / "absent", DEFAULT_LABELS) is None


def test_a_dataset_is_audited_over_all_its_records(dataset):
    audits, manifest = LabelAudits.read(dataset, DEFAULT_LABELS), Manifest.read(dataset)
    assert audits is not None
    audit = audits.binary
    assert set(audit.shortcuts) == set(FEATURES)
    for name, count in audit.num_images.items():
        assert count == sum(split.class_counts[name] for split in manifest.splits.values())
    assert sum(audit.num_groups.values()) == sum(split.num_groups for split in manifest.splits.values())
    assert audit.shortcuts["width"].histogram.counts == {name: [count] for name, count in audit.num_images.items()}
    assert audit.shortcuts["jpeg_quality"].histogram.start == 90


def test_each_of_three_classes_is_audited_against_all_others(tmp_path):
    images = images_of([900] * 30 + [500] * 60, [(n // 30, ()) for n in range(90)])
    audits = make_audits(images, THREE_CLASSES)
    aurocs = {name: audit.shortcuts["width"].auroc for name, audit in audits.by_class.items()}
    assert aurocs == {"NORMAL": 1.0, "bacteria": 0.75, "virus": 0.75}
    assert audits.by_class["NORMAL"].num_images == {REST: 60, "NORMAL": 30}
    assert audits.binary is None
    audits.write(tmp_path)
    assert LabelAudits.read(tmp_path, THREE_CLASSES) == audits


def test_a_finding_is_audited_over_the_images_where_it_is_known():
    vectors = [(-1, (n % 2, -1, int(n < 40), 0)) for n in range(80)]
    audits = make_audits(images_of([500 + 400 * (n % 2) for n in range(80)], vectors), FINDINGS)
    assert audits.by_class["Edema"].shortcuts["width"].auroc == 1.0
    assert audits.by_class["Mass"].shortcuts["width"].auroc == 0.5
    assert audits.by_class["Effusion"].num_images == {REST: 0, "Effusion": 0}
    assert audits.by_class["Hernia"].chance_auroc is None
