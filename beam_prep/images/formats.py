"""Tells images from other files, by the suffix of the name or else by the first bytes. Standard library only."""

from __future__ import annotations

from beam_prep.images.dicom.file_start import is_dicom

DICOM_SUFFIXES = (".dcm", ".dicom")
RASTER_SUFFIXES = (
    *(".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
    *(".jp2", ".j2k", ".jpf", ".jpx"),
)
IMAGE_SUFFIXES = (*DICOM_SUFFIXES, *RASTER_SUFFIXES)

# The first bytes of a file → the name of the format in Pillow.
# Sources: ITU-T T.81 B.1.1.3; PNG (ISO 15948) 5.2; TIFF 6.0, 2; BigTIFF; GIF89a, 17; ITU-T T.800 A.4.1, I.5.1.
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF"),
    **dict.fromkeys((b"GIF87a", b"GIF89a"), "GIF"),
    **dict.fromkeys((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "), "JPEG2000"),
}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # the lengths of the header that follows that of the file


def has_image_suffix(name: str) -> bool:
    """Returns True if the name of a file says that it is an image."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def raster_format(head: bytes) -> str | None:
    """Returns the name of the format in Pillow by the first bytes of a file; None for DICOM and what is no image."""
    if head.startswith(b"RIFF"):
        return "WEBP" if head[8:12] == b"WEBP" else None
    if head.startswith(b"BM"):  # text may begin so, too
        is_bmp = head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in _BMP_HEADERS
        return "BMP" if is_bmp else None
    return next((name for start, name in _STARTS.items() if head.startswith(start)), None)


def is_image(head: bytes) -> bool:
    """Returns True if a file is an image that may be decoded, by its first `HEAD_BYTES`."""
    return raster_format(head) is not None or is_dicom(head)
