"""Reads the size of compressed DICOM frames, checks their end, and decodes those that pydicom has no safe decoder for.

The size matters because decoders allocate memory by the size in the code stream, whatever the DICOM header says. RLE is
decoded here because no library at hand is sure to stop at the end of its buffer. JPEG other than baseline is decoded
here because pydicom would use GDCM, where some broken frames crash the whole process, and has no decoder for 12 bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from beam_prep.dataset.image_limits import ImageError

START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # the markers SOFn of JPEG and SOF55 of JPEG-LS
SEQUENTIAL = (0xC0, 0xC1)  # the markers of frames whose scans hold whole coefficients
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
MAX_SCANS = 100
"""The most scans of a JPEG stream; libjpeg makes 10, and each may take as long as the whole picture."""
ORDINARY_SCANS = 16
"""The most scans of an ordinary JPEG stream, which is decoded without a process of its own."""
MAX_PARTS = 100
"""The most segments before the first scan of an ordinary JPEG stream, and the most chunks of a small PNG file."""
MAX_HEADER_BYTES = 2**17
"""The most bytes of the segments before the first scan, and of the chunks of a PNG file that hold no pixels."""
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers that no length follows


class FrameHeader(NamedTuple):
    """The numbers at the start of a compressed frame: width and height (px), samples of a pixel, bits of a sample."""

    width: int
    height: int
    samples: int
    bits: int


def read_header(frame: bytes) -> FrameHeader:
    """Reads the size and the depth of a frame from its start.

    Args:
        frame: a JPEG, JPEG-LS, JPEG 2000 or HTJ2K code stream.

    Raises:
        ImageError: the frame is no code stream.

    Source: ITU-T T.81 B.2.2, T.87 C.2.2, T.800 A.5.1.
    """
    if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) > 42:
        right, lower, left, upper = (int.from_bytes(frame[8 + 4 * i : 12 + 4 * i], "big") for i in range(4))
        return FrameHeader(right - left, lower - upper, int.from_bytes(frame[40:42], "big"), 1 + (frame[42] & 0x7F))
    if frame[:2] == b"\xff\xd8":
        at = _start_of_frame(frame)
        height, width = (int.from_bytes(frame[at + i : at + i + 2], "big") for i in (5, 7))
        return FrameHeader(width, height, frame[at + 9], frame[at + 4])
    raise ImageError("undecodable", "DICOM: a frame that is no code stream")


def without_jp2_boxes(frame: bytes) -> bytes:
    """Returns the code stream of a JP2 file; any other frame as it is.

    Raises:
        ImageError: the file has no code stream.

    Source: ITU-T T.800 I.4 (boxes).
    """
    at = 0 if frame[4:8] == b"jP  " else len(frame)
    while at + 8 <= len(frame):
        length, kind, content = int.from_bytes(frame[at : at + 4], "big"), frame[at + 4 : at + 8], at + 8
        if length == 1:
            length, content = int.from_bytes(frame[at + 8 : at + 16], "big"), at + 16
        end = at + length if length else len(frame)  # 0 stands for a box that reaches to the end of the file
        if kind == b"jp2c":
            return frame[content:end]
        if end < content:
            break
        at = end
    if frame[4:8] == b"jP  ":
        raise ImageError("undecodable", "a JP2 file without a code stream")
    return frame


def _start_of_frame(frame: bytes) -> int:
    """Returns the offset of the start-of-frame marker; raises an ImageError where there is none."""
    at = 2
    while at + 9 < len(frame):
        if frame[at] != 0xFF:
            break
        marker = frame[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in WITHOUT_LENGTH:
            at += 2
        elif marker in START_OF_FRAME:
            return at
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    raise ImageError("undecodable", "DICOM: a JPEG frame without a header")


def check_end(frame: bytes) -> None:
    """Rejects a truncated JPEG or JPEG-LS frame: libjpeg would invent the missing part, CharLS would take minutes.

    Raises:
        ImageError: no end of the image follows the last start of a scan.
    """
    if frame.rfind(END_OF_IMAGE) < frame.rfind(START_OF_SCAN):
        raise ImageError("undecodable", "DICOM: the frame is truncated")


def num_scans(stream: bytes) -> int:
    """Returns the number of scans of a JPEG stream, those of thumbnails in it included; 0 for any other stream."""
    if not stream.startswith(b"\xff\xd8"):
        return 0
    return 1 if _is_one_scan(stream) else stream.count(START_OF_SCAN)


def _is_one_scan(stream: bytes) -> bool:
    """Returns True for a sequential JPEG stream whose first scan holds all components: decoders read no other.

    Most files are such, and counting takes as long as a twentieth of decoding.
    """
    at, num_components = 2, 0
    while at + 9 < len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == START_OF_SCAN[1]:
            return 0 < num_components == stream[at + 4]
        if marker in START_OF_FRAME:
            if marker not in SEQUENTIAL or num_components:
                return False
            num_components = stream[at + 9]
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return False


def has_short_header(stream: bytes, *, otherwise: bool = False) -> bool:
    """Returns True if a JPEG stream begins with few segments; Pillow takes each of them, and each tag in it, apart.

    Args:
        stream: the stream.
        otherwise: the answer for a stream with something else between its segments.
    """
    at = 2
    for _ in range(MAX_PARTS):
        if at > MAX_HEADER_BYTES:
            return False
        if stream[at : at + 2] == START_OF_SCAN:
            return True
        if stream[at : at + 1] != START_OF_SCAN[:1]:
            return otherwise
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return False


def check_scans(stream: bytes) -> None:
    """Rejects a JPEG stream of more than `MAX_SCANS` scans; any other stream passes.

    Raises:
        ImageError: there are too many scans.
    """
    if (count := num_scans(stream)) > MAX_SCANS:
        raise ImageError("too_many_scans", f"JPEG: {count} scans, at most {MAX_SCANS}")


def decode_jpeg(frame: bytes) -> np.ndarray:
    """Decodes a JPEG frame, lossless of 2 to 16 bit or sequential of 8 or 12 bit, by libjpeg-turbo.

    Args:
        frame: a code stream whose size was read by `read_header` and is right.

    Returns:
        uint8 or uint16 [height, width] or [height, width, 3]: the samples as they are coded, in any colour space.

    Raises:
        ImageError: the frame is broken or truncated.
    """
    import imagecodecs

    check_end(frame)
    header = read_header(frame)
    coded = None if header.samples == 1 else "rgb"  # named as input and as output, so that nothing is converted
    try:
        pixels = imagecodecs.jpeg8_decode(frame, colorspace=coded, outcolorspace=coded)
    except imagecodecs.Jpeg8Error:
        raise ImageError("undecodable", "DICOM: a JPEG frame that is broken") from None
    if pixels.shape[:2] != (header.height, header.width):
        raise ImageError("undecodable", "DICOM: a JPEG frame of two sizes")
    return pixels


def decode_rle(frame: bytes, *, num_pixels: int, num_samples: int, sample_bytes: int) -> np.ndarray:
    """Decodes an RLE frame.

    Args:
        frame: the frame with its header of 64 bytes.
        num_pixels: the number of pixels that the frame must hold; bytes after them are ignored.
        num_samples: samples of a pixel.
        sample_bytes: bytes of a sample, 1 or 2; the frame must have a segment for each byte of a pixel.

    Returns:
        uint8 or little-endian uint16 [num_pixels, num_samples].

    Raises:
        ImageError: the number of segments is wrong, or a segment is truncated.

    Source: DICOM PS3.5 G.3 to G.5.
    """
    header = [int.from_bytes(frame[i : i + 4], "little") for i in range(0, 64, 4)]
    num_segments = num_samples * sample_bytes
    if header[0] != num_segments or len(frame) < 64 or not num_segments < 16:
        raise ImageError("undecodable", f"DICOM: {num_segments} RLE segments expected, {header[0]} found")
    ends = [*header[2 : num_segments + 1], len(frame)]
    segments = []
    for start, end in zip(header[1 : num_segments + 1], ends, strict=True):
        segments.append(_unpack_bits(frame[start:end], num_pixels))
    # The highest byte of a sample comes first.
    planes = np.stack(segments).reshape(num_samples, sample_bytes, num_pixels)
    return np.ascontiguousarray(planes[:, ::-1].transpose(2, 0, 1)).view(f"<u{sample_bytes}")[..., 0]


def _unpack_bits(packed: bytes, length: int) -> np.ndarray:
    """Decodes one PackBits segment to `length` bytes."""
    unpacked = bytearray()
    at = 0
    while len(unpacked) < length and at + 1 < len(packed):
        count = packed[at]
        if count < 128:  # count + 1 literal bytes follow
            unpacked += packed[at + 1 : at + 2 + count]
            at += count + 2
        else:
            if count > 128:
                unpacked += packed[at + 1 : at + 2] * (257 - count)
            at += 2 if count > 128 else 1
    if len(unpacked) < length:
        raise ImageError("undecodable", "DICOM: an RLE segment is truncated")
    return np.frombuffer(unpacked, np.uint8, length)
