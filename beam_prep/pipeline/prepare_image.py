"""Turns the bytes of one image file into the records of a dataset: the whole work on one image, without Beam."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from beam_prep.dataset.example_proto import Record, to_example
from beam_prep.dataset.image_limits import MAX_SECONDS
from beam_prep.dataset.patient_groups import BY_HEADER, Salt
from beam_prep.dataset.schema import DEFAULT_LABELS, LabelSpace
from beam_prep.dataset.tfrecord import frame
from beam_prep.images.blank import check_not_blank
from beam_prep.images.decode import digest, encode, pixel_sums
from beam_prep.images.dicom.reader import patient_id, patient_traits
from beam_prep.images.guarded_decode import decode_guarded
from beam_prep.images.measure_stats import measure
from beam_prep.images.pyramid import Pyramid
from beam_prep.planning.outcomes import Prepared
from beam_prep.planning.patients import is_known
from beam_prep.sources.discover import Source


def prepare_image(
    data: bytes,
    source: Source,
    name: str,
    *,
    image_sizes: Sequence[int],
    equalization: str,
    fit: str = "squash",
    encoding: str,
    salt: Salt,
    max_blank_fraction: float = 1.0,
    max_seconds: float = MAX_SECONDS,
    traits: Sequence[str] = (),
    labels: LabelSpace = DEFAULT_LABELS,
) -> tuple[Prepared, list[bytes]]:
    """Decodes, equalizes, resizes and measures one image; it is decoded once for all sizes.

    Args:
        data: the content of the file.
        source: the path, labels, split and patient of the image; its labels are known.
        name: the file name for the records, see `public_name`.
        image_sizes: the sizes of the records, px.
        equalization: `hist`, `hist_full`, `clahe` or `none`, see `equalize`.
        fit: the way an image becomes a square: `squash`, `pad` or `crop`, see `fitted_size`.
        encoding: the encoding of the pixels in a record, `raw` or `png`.
        salt: the salt of the hashes and ranks.
        max_blank_fraction: the share of pixels of nearly one grey value above which an image is blank.
        max_seconds: the processor time that the decoding may take, s.
        traits: the traits of the patient that the records are to hold, of `age`, `sex` and `view`. What a metadata file
            says goes before the header of a DICOM file.
        labels: the task and the class names.

    Returns:
        The prepared image, whose spans are still empty, and its framed records, one for each size.

    Raises:
        ImageError: the file can't be used.
    """
    assert source.label is not None
    image = decode_guarded(data, max_seconds)
    check_not_blank(image, max_blank_fraction)
    patient, told_by = _patient(source, data)
    group, folded = salt.hash(patient), patient.casefold()
    raw = image.tobytes()  # one copy for everything that reads every pixel
    source_id = digest(raw)
    # Near duplicates are recognized on the histogram-equalized image, whatever equalization the records have.
    pyramid = Pyramid(image, "hist", raw)
    perceptual_hash = pyramid.perceptual_hash()
    if equalization != "hist":
        del pyramid  # which holds an image, while the next one is made
        pyramid = Pyramid(image, equalization, raw)
    del raw
    resized = [pyramid.resize(image_px, fit) for image_px in image_sizes]
    header = patient_traits(data) if traits else {}
    told: dict[str, str] = {trait: getattr(source, trait) or header.get(trait, "") for trait in traits}
    records = [
        Record.of_vector(
            labels.vector(source.label, source.findings),
            encoded=encode(pixels, encoding),
            encoding=encoding,
            height=image_px,
            width=image_px,
            label=source.label,
            filename=name,
            source_id=source_id,
            group=group,
            source_height=image.height,
            source_width=image.width,
            domain=source.domain,
            age=told.get("age", ""),
            sex=told.get("sex", ""),
            view=told.get("view", ""),
        )
        for image_px, pixels in zip(image_sizes, resized, strict=True)
    ]
    prepared = Prepared(
        filename=name,
        label=source.label,
        split=source.split,
        group=group,
        group_rank=salt.rank(patient),
        told_by=told_by,
        order=salt.rank(source.filename),
        pixels=f"{image.width}x{image.height}:{source_id}",
        perceptual_hash=perceptual_hash,
        sums=tuple(map(pixel_sums, resized)),
        spans=(),
        stats=measure(image, data)._replace(darkest=int(np.asarray(resized[0]).min())),
        repaired="repaired" in image.info,
        domain=source.domain,
        folded_group=salt.hash(folded) if is_known(told_by) and folded != patient else "",
        findings=source.findings,
    )
    return prepared, [frame(to_example(record, labels.class_names)) for record in records]


def public_name(filename: str, *, anonymize: bool, salt: Salt) -> str:
    """Returns the file name for records and lists: its salted hash, or the name with bytes outside UTF-8 escaped."""
    return salt.hash(filename) if anonymize else filename.encode("utf-8", "backslashreplace").decode()


def _patient(source: Source, data: bytes) -> tuple[str, str]:
    """Returns the patient and what told it: the user's rule, else a DICOM file, else the path, else its own name."""
    if not source.is_told_by_user and (identifier := patient_id(data)):
        return identifier, BY_HEADER
    return source.group, source.told_by
