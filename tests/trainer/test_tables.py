"""The numbers of a run as the console shows them."""

import numpy as np
from class_predictions import FINDINGS, findings, three_classes

from trainer.evaluation.calibration import logits_of
from trainer.evaluation.evaluate import measure
from trainer.evaluation.metrics import evaluate
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.subgroups import by_trait
from trainer.run.model_card import ModelCard
from trainer.tables import print_decision, print_mirrored, print_next, print_numbers


def test_each_domain_has_a_row_that_no_name_can_forge_and_says_if_it_has_one_class(capsys):
    names = [str(place) for place in range(6)]
    labels, scores = np.array([0, 1, 0, 1, 0, 0]), np.array([0.1, 0.9, 0.6, 0.7, 0.2, 0.8])
    traits = {"domain": ["Bonn"] * 4 + ["\x1b[2J"] * 2}
    predictions = Predictions(names, names, labels, logits_of(scores), scores, np.zeros(6, int), traits)
    numbers = evaluate(labels, scores, names, predictions.loss())
    print_numbers({"test": {**numbers, "subgroups": by_trait(predictions)}, "speed": {}})
    title, forged, bonn = capsys.readouterr().out.splitlines()[-3:]
    assert title.split() == ["test", "by", "domain", "images", "auroc", "sensitivity", "specificity"]
    assert forged.split()[:4] == [r"\x1b[2J", "2", "undefined", "undefined"]
    assert forged.endswith("  all 2 NORMAL")
    assert bonn.split()[:3] == ["Bonn", "4", "1.000"]
    assert not bonn.endswith("NORMAL")


def test_each_class_and_finding_has_a_row_below_the_split(capsys):
    numbers = measure(three_classes(), "test").numbers
    print_numbers({"test": numbers, "speed": {}})
    print_decision(numbers)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [
        "test",
        "90",
        *(f"{numbers[name]:.4f}" for name in ("loss", "accuracy", "auroc")),
        "–",
        "–",
    ]
    patients = numbers["patients"]
    assert lines[2].split() == [
        *("patients", "90", f"{patients['accuracy']:.4f}", f"{patients['auroc']:.4f}", "–", "–"),
    ]
    assert lines[4].split()[:4] == [
        "COVID",
        "90",
        str(numbers["classes"]["COVID"]["num_positive"]),
        f"{numbers['classes']['COVID']['auroc']:.3f}",
    ]
    assert lines[-1] == "decision:  the most probable class; calibrated by the temperature 1.000"

    unknown = findings()
    unknown.labels[:, 0] = -1
    print_numbers({"val": measure(unknown, "val").numbers, "speed": {}})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[4:6]] == list(FINDINGS)
    assert lines[-1].strip() == "auroc of Mass is undefined: no label of it is known"


def test_the_next_comparison_names_the_results_that_are_there(capsys):
    print_next("runs/a b", "compare")
    print_next("runs/a", "compare", split="all", below="/evaluations/12ab")
    first, second = capsys.readouterr().out.splitlines()
    assert first == "next:      cxrflow compare 'runs/a b' OTHER_RUN --output comparison.html"
    folders = "runs/a/evaluations/12ab OTHER_RUN/evaluations/12ab"
    assert second == f"next:      cxrflow compare {folders} --split all --output comparison.html"


def test_a_run_with_tta_says_that_its_numbers_are_of_both_sides_of_an_image(capsys):
    print_mirrored(ModelCard("a", 32, "hist", [], "ab"))
    assert not capsys.readouterr().out
    print_mirrored(ModelCard("a", 32, "hist", [], "ab", tta=True))
    print_mirrored(ModelCard("a", 32, "hist", [], "ab", tta=True), after_epochs=True)
    evaluated, trained = capsys.readouterr().out.splitlines()
    assert evaluated == "mirrored:  means over each image and its mirror image (--tta)"
    assert trained == f"{evaluated}; the epochs have the image alone"
