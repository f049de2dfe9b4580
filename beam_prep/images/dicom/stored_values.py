"""Decodes the stored values of a DICOM image, in every transfer syntax and byte order that is supported.

Source: DICOM PS3.5 8.1 (cells of BitsAllocated, of which BitsStored up to HighBit are the value), 8.2 and A.4
(compressed frames); PS3.3 C.7.5.1.1.2 (padding).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from beam_prep.dataset.image_limits import ImageError
from beam_prep.images.dicom.codestream import (
    MAX_PARTS,
    FrameHeader,
    check_end,
    check_scans,
    decode_jpeg,
    decode_rle,
    has_short_header,
    read_header,
    without_jp2_boxes,
)
from beam_prep.images.dicom.file_start import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from beam_prep.images.dicom.header_limits import check_offsets
from beam_prep.images.dicom.tags import name_of, numbers, text, whole_number
from beam_prep.images.dicom.voi_lut import stored_numbers

# Transfer syntax → the one decoder of pydicom that may read it, so that a file gives the same pixels everywhere. It is
# empty where no decoder is needed, and where `images/dicom/codestream.py` decodes.
DEFLATED, RLE, JPEG_EXTENDED = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.51"
DECODERS = {
    IMPLICIT_LITTLE: "",
    EXPLICIT_LITTLE: "",
    DEFLATED: "",  # explicit little endian, deflated
    EXPLICIT_BIG: "",
    RLE: "",  # decoded in `images/dicom/codestream.py`
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    JPEG_EXTENDED: "pillow",  # JPEG extended; frames of 12 bit are decoded in `images/dicom/codestream.py`
    "1.2.840.10008.1.2.4.57": "",  # JPEG lossless, decoded in `images/dicom/codestream.py`
    "1.2.840.10008.1.2.4.70": "",  # JPEG lossless, first order, decoded in `images/dicom/codestream.py`
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS, lossless
    "1.2.840.10008.1.2.4.81": "pyjpegls",  # JPEG-LS, near lossless
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000, lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # HTJ2K (high-throughput JPEG 2000), lossless
    "1.2.840.10008.1.2.4.202": "pylibjpeg",  # HTJ2K, lossless, with resolution levels in order (RPCL)
    "1.2.840.10008.1.2.4.203": "pylibjpeg",  # HTJ2K
}

# The pixels of these are decoded in a time that their size bounds.
PLAIN_SYNTAXES = (
    *(IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG),
    *("1.2.840.10008.1.2.4.50", JPEG_EXTENDED, "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"),
)


def decode_cells(dataset: Any) -> np.ndarray:
    """Decodes the pixels of a data set whose header was checked.

    Args:
        dataset: a data set of pydicom of one frame.

    Returns:
        The cells of a grey or palette image, uint8 or uint16 [H, W] in the byte order of this machine, with the value
        in the lowest BitsStored bits and anything in the bits above; or RGB, uint8 or uint16 [H, W, 3].

    Raises:
        ImageError: the pixels are broken, truncated or not as the header says.
    """
    from pydicom.pixels import pixel_array

    shape = (whole_number(dataset, "Rows"), whole_number(dataset, "Columns"))
    bits = whole_number(dataset, "BitsStored")
    shift = whole_number(dataset, "HighBit", bits - 1) + 1 - bits
    decoder = DECODERS[dataset.file_meta.TransferSyntaxUID]
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        header, frame = _frame(dataset)
        if header and header.bits <= bits:
            shift = 0  # a code stream of so few bits holds the values themselves
        if not decoder or (header and dataset.file_meta.TransferSyntaxUID == JPEG_EXTENDED and header.bits == 12):
            dataset, decoder = _uncompressed(dataset, frame), ""
        elif decoder == "pyjpegls":
            check_end(frame)
    else:
        _check_length(dataset)
    if not decoder:  # else pydicom would clear the bits of a cell outside the value
        dataset.BitsStored = dataset.BitsAllocated
    pixels = pixel_array(dataset, decoding_plugin=decoder)
    dataset.BitsStored = bits
    if pixels.shape[:2] != shape:
        raise ImageError("undecodable", "DICOM: pixels of another shape than the header's")
    cells = pixels.astype(pixels.dtype.newbyteorder("="), copy=False).view(f"u{pixels.itemsize}")
    return cells >> shift if shift else cells


def padding_mask(dataset: Any, cells: np.ndarray) -> np.ndarray | None:
    """Finds the pixels outside the picture, which have the PixelPaddingValue, or one up to the PixelPaddingRangeLimit.

    Args:
        dataset: a data set of pydicom.
        cells: the pixels as `decode_cells` returns them, [H, W].

    Returns:
        bool [H, W]; None where no pixel is outside the picture.
    """
    padding = numbers(dataset, "PixelPaddingValue")
    if not padding:
        return None
    limits = (
        whole_number(dataset, "PixelPaddingValue"),
        whole_number(dataset, "PixelPaddingRangeLimit", int(padding[0])),
    )
    signed = whole_number(dataset, "PixelRepresentation", 0) == 1
    # The tags may be written unsigned although the values are signed, and the other way round.
    kind = np.dtype(f"{'i' if signed else 'u'}{cells.itemsize}")
    low, high = sorted(
        int(np.array(limit % 2 ** (8 * cells.itemsize), f"u{cells.itemsize}").view(kind)) for limit in limits
    )
    values = stored_numbers(dataset)
    if values.min() <= low and high <= values.max():
        mask = ((low <= values) & (values <= high))[stored_values(dataset, cells)]
    else:  # no value of the picture has this number: it uses bits above the value
        mask = (low <= cells.view(kind)) & (cells.view(kind) <= high)
    return mask if mask.any() else None


def stored_values(dataset: Any, cells: np.ndarray) -> np.ndarray:
    """Returns the lowest BitsStored bits of cells as unsigned numbers; the higher bits may hold overlays."""
    return cells & np.uint16(2 ** whole_number(dataset, "BitsStored") - 1)


def look_up(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns `table[values]`, by blocks of rows: NumPy takes eight bytes for each index meanwhile.

    Args:
        table: the new value of each value.
        values: unsigned whole numbers [H, W].
    """
    found = np.empty(values.shape, table.dtype)
    for rows in row_blocks(values.shape):
        found[rows] = table[values[rows]]
    return found


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yields the rows of an image of this shape in blocks of about a million numbers."""
    num_rows = max(2**20 // math.prod(shape[1:]), 1)
    for start in range(0, shape[0], num_rows):
        yield slice(start, start + num_rows)


def _check_length(dataset: Any) -> None:
    """Rejects uncompressed pixels of fewer bytes than the header says."""
    samples = whole_number(dataset, "SamplesPerPixel")
    num_bytes = whole_number(dataset, "Rows") * whole_number(dataset, "Columns") * samples
    num_bytes *= whole_number(dataset, "BitsAllocated") // 8
    if text(dataset, "PhotometricInterpretation") == "YBR_FULL_422":  # two pixels share their colour
        num_bytes = num_bytes // 3 * 2
    if len(dataset.PixelData) < num_bytes:
        found = f"{len(dataset.PixelData)} bytes of {num_bytes}"
        raise ImageError("undecodable", f"DICOM: {name_of('PixelData')} is truncated: {found}")


def _frame(dataset: Any) -> tuple[FrameHeader | None, bytes]:
    """Returns the compressed frame of a data set, out of its JP2 boxes, and its header, which RLE frames lack.

    Raises:
        ImageError: the frame has another size than the data set says.
    """
    from pydicom.encaps import encapsulate, get_frame

    check_offsets(dataset.PixelData)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    check_scans(frame)
    if dataset.file_meta.TransferSyntaxUID == RLE:
        return None, frame
    stream = without_jp2_boxes(frame)
    if stream is not frame:
        dataset.PixelData = encapsulate([stream])
    header = read_header(stream)
    claimed = (
        whole_number(dataset, "Columns"),
        whole_number(dataset, "Rows"),
        whole_number(dataset, "SamplesPerPixel"),
    )
    if header[:3] != claimed:
        raise ImageError("undecodable", f"DICOM: {claimed} px and samples by its header, {header[:3]} by its frame")
    if stream.startswith(b"\xff\xd8") and not has_short_header(stream, otherwise=True):
        raise ImageError("header_too_large", f"DICOM: a JPEG frame with more than {MAX_PARTS} segments before its scan")
    return header, stream


def _uncompressed(dataset: Any, frame: bytes) -> Any:
    """Replaces the frame of a data set by its uncompressed pixels, which `images/dicom/codestream.py` decodes."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    sample_bytes, samples = whole_number(dataset, "BitsAllocated") // 8, whole_number(dataset, "SamplesPerPixel")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == JPEG_EXTENDED and (samples, whole_number(dataset, "BitsStored")) != (1, 12):
        raise ImageError(
            "unsupported_depth", "a JPEG frame of 12 bit that is in colour, or whose header says another depth"
        )
    if syntax == RLE:
        num_pixels = whole_number(dataset, "Rows") * whole_number(dataset, "Columns")
        pixels = decode_rle(frame, num_pixels=num_pixels, num_samples=samples, sample_bytes=sample_bytes)
    else:
        pixels = decode_jpeg(frame)
        if pixels.itemsize > sample_bytes:
            raise ImageError("undecodable", f"DICOM: {8 * sample_bytes} bit by its header, more by its frame")
        pixels = pixels.astype(f"<u{sample_bytes}")
    dataset.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    dataset["PixelData"].VR = "OW"
    dataset["PixelData"].is_undefined_length = False
    if samples > 1:
        dataset.PlanarConfiguration = 0
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset
