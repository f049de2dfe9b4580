"""The size that a compressed frame itself claims: decoders allocate by it, whatever the header around it says."""

from __future__ import annotations

from beam_prep.images import ImageError

START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # JPEG SOFn, and SOF55 of JPEG-LS
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def frame_size(frame: bytes, *, pixel_bytes: int, num_pixels: int) -> tuple[int, int, int] | None:
    """Reads the size off the start of a frame.

    Args:
        frame: a JPEG, JPEG-LS or JPEG 2000 code stream, or an RLE frame.
        pixel_bytes: bytes of a pixel, all samples.
        num_pixels: how many there should be.

    Returns:
        (width, height, samples of a pixel), px; None for RLE, whose decoder goes by the size that it is told.

    Raises:
        ImageError: no code stream, or one that is out of all proportion.

    Source: ITU-T T.81 B.2.2, T.87 C.2.2, T.800 A.5.1; DICOM PS3.5 G.5.
    """
    if frame[:4] == b"\xff\x4f\xff\x51":
        numbers = [int.from_bytes(frame[8 + 4 * i : 12 + 4 * i], "big") for i in range(4)]
        return numbers[0] - numbers[2], numbers[1] - numbers[3], int.from_bytes(frame[40:42], "big")
    if frame[:2] == b"\xff\xd8":
        return _jpeg_size(frame)
    if len(frame) > 64 and int.from_bytes(frame[:4], "little") == pixel_bytes:
        # The worst that RLE can do to noise is one byte more for each 128, and for each row.
        if len(frame) > 2 * pixel_bytes * num_pixels + 1024:
            raise ImageError("undecodable", "DICOM: a frame far longer than its pixels")
        return None
    raise ImageError("undecodable", "DICOM: a frame that is no code stream")


def _jpeg_size(frame: bytes) -> tuple[int, int, int]:
    at = 2
    while at + 9 < len(frame):
        if frame[at] != 0xFF:
            break
        marker = frame[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif marker in WITHOUT_LENGTH:
            at += 2
        elif marker in START_OF_FRAME:
            height, width = (int.from_bytes(frame[at + i : at + i + 2], "big") for i in (5, 7))
            return width, height, frame[at + 9]
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    raise ImageError("undecodable", "DICOM: a JPEG frame without a header")
