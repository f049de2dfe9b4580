"""Decodes DICOM files to grey images, as a radiologist's screen shows them, and reads the PatientID.

An error about a rejected file tells nothing of its header but sizes: values of tags, and messages of libraries that may
quote them, stay out of every error and log.

Source: DICOM PS3.3 C.7.6.3 (image pixel); PS3.10 7 (file).
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from beam_prep.dataset import traits
from beam_prep.dataset.image_limits import MAX_FILE_BYTES, ImageError, check_size
from beam_prep.images.dicom.file_start import guess_syntax, is_dicom, start_of_tags
from beam_prep.images.dicom.header_limits import LimitedFile
from beam_prep.images.dicom.stored_values import (
    DECODERS,
    DEFLATED,
    PLAIN_SYNTAXES,
    decode_cells,
    look_up,
    padding_mask,
    row_blocks,
    stored_values,
)
from beam_prep.images.dicom.tags import check_value, name_of, text, whole_number
from beam_prep.images.dicom.voi_lut import grey_table

PATIENT_ID, VIEW_POSITION = 0x00100020, 0x00185101
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"  # the delimiter behind the frames, PS3.5 A.4
GREY = ("MONOCHROME1", "MONOCHROME2")
PIXEL_REPRESENTATIONS = (None, "OB", "OW", "OB or OW", "UN")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")


def decode_dicom(data: bytes) -> Image.Image:
    """Decodes a DICOM file of one frame.

    The modality LUT (or slope and intercept) is applied, then the first VOI LUT, else the first window of a valid
    width; MONOCHROME1 is inverted last. A windowed image fills 0..255 or 0..65535; without a window the values are the
    stored ones, shifted so that the least possible value is 0.

    Args:
        data: the content of the file, with or without a preamble.

    Returns:
        An image [height, width]: `L` where 8 bits or fewer are stored (or the LUT gives as many), else `I;16`. Colour
        becomes ITU-R 601 luma. Pixels outside the picture, see `padding_mask`, are black; then `info["padding"]` is
        True, so that they are kept out of the equalization.

    Raises:
        ImageError: the file is broken, has several frames or no pixels, or stores them in a way that is not supported.
    """
    with _discreet("its tags"):
        dataset = _read(data)
        _check(dataset)
        _check_end(dataset, data)
    with _discreet(f"its pixels ({dataset.file_meta.TransferSyntaxUID.name})"):
        cells = decode_cells(dataset)
    with _discreet("its palette" if cells.ndim == 2 and not _is_grey(dataset) else "its window or look-up table"):
        bits = whole_number(dataset, "BitsStored")
        if cells.ndim == 3:
            return _luma(cells, bits)
        if not _is_grey(dataset):
            from pydicom.pixels import apply_color_lut

            _check_palette(dataset)
            coloured = apply_color_lut(stored_values(dataset, cells), dataset)[..., :3]
            return _luma(coloured, coloured.dtype.itemsize * 8)
        pixels = look_up(grey_table(dataset), stored_values(dataset, cells))
        outside = padding_mask(dataset, cells)
        if outside is not None:
            pixels[outside] = 0
        image = Image.fromarray(pixels)
        if outside is not None:
            image.info["padding"] = True
        return image


def patient_id(data: bytes) -> str | None:
    """Returns the PatientID of a DICOM file; None where it has none or is no DICOM file.

    Raises:
        ImageError: the header is broken.
    """
    if not is_dicom(data):
        return None
    with _discreet("its tags"):
        dataset = _read(data, stop_when=lambda tag, vr, length: tag > PATIENT_ID)
        check_value(dataset, "PatientID")
        return str(dataset.get("PatientID") or "").strip() or None


def has_plain_pixels(data: bytes) -> bool:
    """Returns True if the pixels of a DICOM file are uncompressed or JPEG, which takes no longer than it must.

    Raises:
        ImageError: the meta information of the file is broken.
    """
    with _discreet("its tags"):
        return _read_meta(data)[0].TransferSyntaxUID in PLAIN_SYNTAXES


def patient_traits(data: bytes) -> dict[str, str]:
    """Returns the age, sex and view position in the header of a DICOM file, see `traits`; empty for other files.

    Raises:
        ImageError: the header is broken.
    """
    if not is_dicom(data):
        return {}
    with _discreet("its tags"):
        dataset = _read(data, stop_when=lambda tag, vr, length: tag > VIEW_POSITION)
        written = {"age": "PatientAge", "sex": "PatientSex", "view": "ViewPosition"}
        return {name: traits.READERS[name](text(dataset, keyword)) for name, keyword in written.items()}


@contextmanager
def _discreet(part: str) -> Iterator[None]:
    """Silences the logs of pydicom and turns its errors into an ImageError that quotes nothing of the file.

    Args:
        part: what of the file is read meanwhile, for the error.
    """
    try:
        import pydicom
        import pydicom.config
    except ImportError:
        raise ImageError("no_dicom_reader", "DICOM needs pydicom; cxrflow doctor says how to install it") from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # a decoder may raise anything for broken bytes
        if _is_too_deep(error):
            raise ImageError("header_too_large", "DICOM: sequences are nested too deep") from None
        raise ImageError("undecodable", f"DICOM: {part} can't be decoded; the file is broken or truncated") from None


def _is_too_deep(error: BaseException | None) -> bool:
    """Returns True if an error is or comes from a RecursionError, which pydicom may have turned into another one."""
    while error is not None and not isinstance(error, RecursionError):
        error = error.__cause__ or error.__context__
    return error is not None


def _read(data: bytes, stop_when: Callable[[Any, str | None, int], bool] | None = None) -> Any:
    """Parses a file to a data set of pydicom.

    `dcmread` is not used: it would inflate a deflated file to any size.

    Args:
        data: the content of the file.
        stop_when: from tag, value representation and length of an element, True to stop before it.
    """
    from pydicom.filereader import read_dataset

    meta, file = _read_meta(data)
    syntax = meta.TransferSyntaxUID
    if syntax == DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = inflater.decompress(file.read(), MAX_FILE_BYTES)
        if inflater.unconsumed_tail:
            raise ImageError("file_too_large", f"at most {MAX_FILE_BYTES} bytes when inflated")
        if not inflater.eof:
            raise ImageError("undecodable", "DICOM: the file is truncated")
        file = LimitedFile(inflated)
    try:
        dataset = read_dataset(file, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=stop_when)
    finally:
        file.check_reads()
    if not dataset and stop_when is None:
        raise ImageError("undecodable", "DICOM: no tags behind the meta information; the file is truncated")
    dataset.file_meta = meta
    return dataset


def _read_meta(data: bytes) -> tuple[Any, LimitedFile]:
    """Parses the meta information of a file, in which the transfer syntax is then always named.

    Returns:
        The meta information, and the file at the data set behind it.
    """
    from pydicom.filereader import _read_file_meta_info
    from pydicom.uid import UID

    file = LimitedFile(data)
    file.seek(start_of_tags(data))
    meta = _read_file_meta_info(file)
    syntax = UID(meta.get("TransferSyntaxUID") or guess_syntax(data[file.tell() : file.tell() + 6]))
    if syntax not in DECODERS:
        known = f"is not one of the {len(DECODERS)} that are supported"
        raise ImageError("unsupported_syntax", f"DICOM: {name_of('TransferSyntaxUID')} {known}")
    meta.TransferSyntaxUID = syntax
    return meta, file


def _check(dataset: Any) -> None:
    """Rejects a file whose header does not describe one frame of 1 to 16 bit, before any pixel is decoded."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise ImageError("unsupported_depth", "DICOM: pixels in floating point")
    if "PixelData" in dataset and dataset.get_item("PixelData").VR not in PIXEL_REPRESENTATIONS:
        raise ImageError("undecodable", f"DICOM: {name_of('PixelData')} is not written as bytes")
    if "PixelData" not in dataset or not dataset.PixelData:
        raise ImageError("no_pixels", f"DICOM: {name_of('PixelData')} is missing or empty")
    if whole_number(dataset, "NumberOfFrames", 1) > 1:
        raise ImageError("multi_frame", f"DICOM: {name_of('NumberOfFrames')} is more than one")
    check_size(whole_number(dataset, "Columns"), whole_number(dataset, "Rows"))
    allocated, stored = whole_number(dataset, "BitsAllocated"), whole_number(dataset, "BitsStored")
    high = whole_number(dataset, "HighBit", stored - 1)
    if allocated not in (8, 16) or not 1 <= stored <= high + 1 <= allocated:
        found = f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}"
        raise ImageError("unsupported_depth", f"DICOM: {found}; expected a value of 1 to 16 bit in 8 or 16")
    photometric, samples = text(dataset, "PhotometricInterpretation"), whole_number(dataset, "SamplesPerPixel")
    if not photometric:
        raise ImageError("undecodable", f"DICOM: {name_of('PhotometricInterpretation')} is missing")
    if photometric not in GREY + COLOUR or samples != (1 if photometric in (*GREY, "PALETTE COLOR") else 3):
        name = name_of("PhotometricInterpretation")
        raise ImageError(
            "unsupported_color", f"DICOM: {name} is unknown, or does not go with {samples} samples a pixel"
        )
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated != dataset["PixelData"].is_undefined_length:
        raise ImageError("undecodable", f"DICOM: {name_of('TransferSyntaxUID')} does not fit {name_of('PixelData')}")


def _check_palette(dataset: Any) -> None:
    """Rejects a palette that pydicom would turn into far more numbers than the file has bytes."""
    for colour in ("Red", "Green", "Blue"):
        if f"Segmented{colour}PaletteColorLookupTableData" in dataset:
            raise ImageError(
                "unsupported_color", "DICOM: a palette in segments, each of which may stand for any number"
            )
        for part in ("Descriptor", "Data"):
            check_value(dataset, f"{colour}PaletteColorLookupTable{part}")


def _is_grey(dataset: Any) -> bool:
    """Returns True for a grey image, False for one in colour or with a palette."""
    return text(dataset, "PhotometricInterpretation") in GREY


def _check_end(dataset: Any, data: bytes) -> None:
    """Rejects a compressed file that is truncated in the delimiter behind its frames, which pydicom does not miss."""
    pixels = dataset["PixelData"]
    end = (pixels.file_tell or 0) + len(pixels.value)
    if pixels.is_undefined_length and data[end : end + 8] != SEQUENCE_END:
        raise ImageError("undecodable", "DICOM: the file is truncated")


def _luma(rgb: np.ndarray, bits: int) -> Image.Image:
    """Converts RGB [H, W, 3] to ITU-R 601 luma, at 8 bit as Pillow does it."""
    if rgb.dtype == np.uint8:
        return Image.fromarray(rgb).convert("L")
    grey = np.empty(rgb.shape[:2], np.uint8 if bits <= 8 else np.uint16)
    for rows in row_blocks(rgb.shape):
        grey[rows] = (rgb[rows] @ np.array([0.299, 0.587, 0.114], np.float32)).round().clip(0, 2**bits - 1)
    return Image.fromarray(grey)
