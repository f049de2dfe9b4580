"""Decodes DICOM files to grey images, as a radiologist's screen shows them, and reads the PatientID.

An error about a rejected file tells nothing of its header but sizes: values of tags, and messages of libraries that may
quote them, stay out of every error and log.

Source: DICOM PS3.3 C.7.6.3 (image pixel); PS3.10 7 (file).
"""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from beam_prep.dataset.image_limits import MAX_FILE_BYTES, ImageError, check_size
from beam_prep.images.dicom.codestream import check_end, decode_jpeg, decode_rle, frame_size, jpeg_bits
from beam_prep.images.dicom.voi_lut import grey_table

PATIENT_ID = 0x00100020
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"  # the delimiter behind the frames, PS3.5 A.4
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")

# Transfer syntax → the one decoder of pydicom that may read it, so that a file gives the same pixels everywhere. It is
# empty where no decoder is needed, and where `images/dicom/codestream.py` decodes.
DEFLATED, RLE, JPEG_EXTENDED = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.51"
DECODERS = {
    "1.2.840.10008.1.2": "",  # implicit little endian
    "1.2.840.10008.1.2.1": "",  # explicit little endian
    DEFLATED: "",  # explicit little endian, deflated
    "1.2.840.10008.1.2.2": "",  # explicit big endian
    RLE: "",  # decoded in `images/dicom/codestream.py`
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    JPEG_EXTENDED: "pillow",  # JPEG extended; frames of 12 bit are decoded in `images/dicom/codestream.py`
    "1.2.840.10008.1.2.4.57": "",  # JPEG lossless, decoded in `images/dicom/codestream.py`
    "1.2.840.10008.1.2.4.70": "",  # JPEG lossless, first order, decoded in `images/dicom/codestream.py`
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS, lossless
    "1.2.840.10008.1.2.4.81": "pyjpegls",  # JPEG-LS, near lossless
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000, lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
}


def is_dicom(data: bytes) -> bool:
    """Returns True if a file begins as DICOM files do (PS3.10, 7.1)."""
    return data[128:132] == b"DICM"


def decode_dicom(data: bytes) -> Image.Image:
    """Decodes a DICOM file of one frame.

    The modality LUT (or slope and intercept) is applied, then the first VOI LUT, else the first window of a valid
    width; MONOCHROME1 is inverted last. A windowed image fills 0..255 or 0..65535; without a window the values are the
    stored ones, shifted so that the least possible value is 0.

    Args:
        data: the content of the file, with its preamble.

    Returns:
        An image [height, width]: `L` where 8 bits or fewer are stored (or the LUT gives as many), else `I;16`. Colour
        becomes ITU-R 601 luma.

    Raises:
        ImageError: the file is broken, has several frames or no pixels, or stores them in a way that is not supported.
    """
    with _discreet():
        dataset = _read(data)
        _check(dataset)
        _check_end(dataset, data)
        pixels = _stored(dataset)
        if pixels.ndim == 3:
            return _luma(pixels, int(dataset.BitsStored))
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            from pydicom.pixels import apply_color_lut

            coloured = apply_color_lut(pixels, dataset)[..., :3]
            return _luma(coloured, coloured.dtype.itemsize * 8)
        return Image.fromarray(grey_table(dataset)[_unsigned(pixels, int(dataset.BitsStored))])


def patient_id(data: bytes) -> str | None:
    """Returns the PatientID of a DICOM file; None where it has none or is no DICOM file.

    Raises:
        ImageError: the header is broken.
    """
    if not is_dicom(data):
        return None
    with _discreet():
        dataset = _read(data, stop_when=lambda tag, vr, length: tag > PATIENT_ID)
        return str(dataset.get("PatientID") or "").strip() or None


@contextmanager
def _discreet() -> Iterator[None]:
    """Silences the logs of pydicom and turns its errors into an ImageError that quotes nothing of the file."""
    try:
        import pydicom
        import pydicom.config
    except ImportError:
        raise ImageError("no_dicom_reader", "reading DICOM needs pydicom: pip install 'cxrflow[prep]'") from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError("undecodable", f"DICOM: {type(error).__name__}") from None


def _read(data: bytes, stop_when: Callable[[Any, str | None, int], bool] | None = None) -> Any:
    """Parses a file to a data set of pydicom.

    `dcmread` is not used: it would inflate a deflated file to any size.

    Args:
        data: the content of the file.
        stop_when: from tag, value representation and length of an element, True to stop before it.
    """
    from pydicom.filereader import _read_file_meta_info, read_dataset

    file = io.BytesIO(data)
    file.seek(132)
    meta = _read_file_meta_info(file)
    syntax = meta.TransferSyntaxUID
    if syntax not in DECODERS:
        raise ImageError("unsupported_syntax", f"not one of the {len(DECODERS)} transfer syntaxes that are supported")
    if syntax == DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = inflater.decompress(file.read(), MAX_FILE_BYTES)
        if inflater.unconsumed_tail:
            raise ImageError("file_too_large", f"at most {MAX_FILE_BYTES} bytes when inflated")
        if not inflater.eof:
            raise ImageError("undecodable", "DICOM: the file is truncated")
        file = io.BytesIO(inflated)
    dataset = read_dataset(file, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=stop_when)
    dataset.file_meta = meta
    return dataset


def _check(dataset: Any) -> None:
    """Rejects a file whose header does not describe one frame of 1 to 16 bit, before any pixel is decoded."""
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise ImageError("multi_frame", "more than one frame")
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise ImageError("unsupported_depth", "floating point")
    if "PixelData" not in dataset or not dataset.PixelData:
        raise ImageError("no_pixels", "no pixel data")
    check_size(int(dataset.Columns), int(dataset.Rows))
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if (
        allocated not in (8, 16)
        or not 1 <= stored <= allocated
        or int(dataset.get("HighBit", stored - 1)) != stored - 1
    ):
        raise ImageError("unsupported_depth", f"{stored} bits stored in {allocated}, or not the lowest ones")
    photometric, samples = dataset.PhotometricInterpretation, int(dataset.SamplesPerPixel)
    if photometric not in GREY + COLOUR or samples != (1 if photometric in (*GREY, "PALETTE COLOR") else 3):
        raise ImageError("unsupported_color", f"photometric interpretation or its {samples} samples a pixel")


def _check_end(dataset: Any, data: bytes) -> None:
    """Rejects a compressed file that is truncated in the delimiter behind its frames, which pydicom does not miss."""
    pixels = dataset["PixelData"]
    end = (pixels.file_tell or 0) + len(pixels.value)
    if pixels.is_undefined_length and data[end : end + 8] != SEQUENCE_END:
        raise ImageError("undecodable", "DICOM: the file is truncated")


def _stored(dataset: Any) -> np.ndarray:
    """Decodes the stored values, [H, W], or RGB, [H, W, 3]."""
    from pydicom.pixels import pixel_array

    size = (int(dataset.Columns), int(dataset.Rows))
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        from pydicom.encaps import get_frame

        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if syntax != RLE:
            claimed, found = (*size, int(dataset.SamplesPerPixel)), frame_size(frame)
            if found != claimed:
                raise ImageError("undecodable", f"DICOM: {claimed} px and samples by its header, {found} by its frame")
        if not DECODERS[syntax] or (syntax == JPEG_EXTENDED and jpeg_bits(frame) == 12):
            return pixel_array(_uncompressed(dataset, frame))
        if DECODERS[syntax] == "pyjpegls":
            check_end(frame)
    pixels = pixel_array(dataset, decoding_plugin=DECODERS[syntax])
    if pixels.shape[:2] != size[::-1]:
        raise ImageError("undecodable", "DICOM: pixels of another shape than the header's")
    return pixels


def _uncompressed(dataset: Any, frame: bytes) -> Any:
    """Replaces the frame of a data set by its uncompressed pixels, which `images/dicom/codestream.py` decodes."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    sample_bytes, samples = int(dataset.BitsAllocated) // 8, int(dataset.SamplesPerPixel)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == JPEG_EXTENDED and (samples, int(dataset.BitsStored)) != (1, 12):
        raise ImageError(
            "unsupported_depth", "a JPEG frame of 12 bit that is in colour, or whose header says another depth"
        )
    if syntax == RLE:
        num_pixels = int(dataset.Rows) * int(dataset.Columns)
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


def _luma(rgb: np.ndarray, bits: int) -> Image.Image:
    """Converts RGB [H, W, 3] to ITU-R 601 luma, at 8 bit as Pillow does it."""
    if rgb.dtype == np.uint8:
        return Image.fromarray(rgb).convert("L")
    grey = (rgb @ np.array([0.299, 0.587, 0.114], np.float32)).round()
    return Image.fromarray(grey.clip(0, 2**bits - 1).astype(np.uint8 if bits <= 8 else np.uint16))


def _unsigned(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Returns the lowest `bits` of each value as an unsigned number; the higher bits may hold overlays."""
    return pixels.view(f"u{pixels.dtype.itemsize}") & np.uint16(2**bits - 1)
