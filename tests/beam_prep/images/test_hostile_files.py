"""Files that are made to take all time or memory: each is rejected in one line."""

import struct
import time
import zlib
from pathlib import Path

import dicom_files
import pytest
from dicom_pixels import GREY8
from image_files import encoded
from pydicom import uid

from beam_prep.dataset.image_limits import ImageError
from beam_prep.images import guarded_decode
from beam_prep.images.decode import decode
from beam_prep.images.dicom.codestream import MAX_SCANS
from beam_prep.images.guarded_decode import decode_guarded

BIG = 20_000_000
UNDEFINED = 0xFFFFFFFF
SEQUENCE = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, UNDEFINED)
ITEM, OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0), struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)


def long_element(tag: tuple[int, int], kind: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sHI", *tag, kind, 0, len(value)) + value


def deflated(*, first: bytes = b"", last: bytes = b"") -> bytes:
    """Returns a sound deflated file with hostile elements before or behind its own."""
    whole = dicom_files.file(GREY8, syntax=uid.DeflatedExplicitVRLittleEndian)
    start = whole.index(b"1.2.840.10008.1.2.1.99") + 22
    packed = zlib.compressobj(9, wbits=-15)
    for begin in range(start, start + 200):  # the meta information may hold more elements behind the syntax
        try:
            body = zlib.decompress(whole[begin:], wbits=-15)
        except zlib.error:
            continue
        if body[:4] == b"\x08\0\x16\0":
            return whole[:begin] + packed.compress(first + body + last) + packed.flush()
    raise AssertionError("no deflated data set")


HEADERS = {
    "items": (deflated(first=SEQUENCE + ITEM * (BIG // 8)), "header_too_large"),
    "elements": (deflated(first=struct.pack("<HH2sH", 9, 16, b"LO", 0) * (BIG // 8)), "header_too_large"),
    "depth": (deflated(first=(SEQUENCE + OPEN_ITEM) * 100_000), "header_too_large"),
    "character set": (deflated(first=long_element((8, 5), b"UC", b"\\" * BIG)), "header_too_large"),
    "text": (deflated(last=long_element((0x28, 0x10), b"UC", b"\\" * BIG)), "header_too_large"),
    "closed sequence": (deflated(last=long_element((0x28, 0x3010), b"SQ", ITEM * (BIG // 8))), "header_too_large"),
    "pixels as text": (deflated(last=long_element((0x7FE0, 0x10), b"UC", b"\\" * BIG)), "undecodable"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_dicom_header_of_millions_of_parts_is_rejected(name):
    data, reason = HEADERS[name]
    assert len(data) < 100_000
    started = time.process_time()
    with pytest.raises(ImageError) as caught:
        decode_guarded(data)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    assert time.process_time() - started < 5


def test_a_frame_in_millions_of_fragments_is_rejected():
    frame = dicom_files.jpeg(GREY8)
    whole = dicom_files.encapsulated(GREY8, frame, uid.JPEGBaseline8Bit, BitsStored=8)
    end = whole.rindex(b"\xfe\xff\xdd\xe0")
    with pytest.raises(ImageError, match="header_too_large"):
        decode_guarded(whole[:end] + ITEM * 200_000 + whole[end:])


def progressive(num_scans: int) -> bytes:
    """Returns a progressive JPEG whose last scan is repeated."""
    whole = encoded(GREY8, "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * (num_scans - whole.count(b"\xff\xda")) + whole[-2:]


def test_a_jpeg_of_thousands_of_scans_is_rejected_wherever_it_is():
    files = {
        "JPEG": progressive(5000),
        "DICOM": dicom_files.encapsulated(GREY8, progressive(5000), uid.JPEGBaseline8Bit, BitsStored=8),
        "without end": progressive(5000)[:-2],
    }
    for data in files.values():
        with pytest.raises(ImageError, match=f"too_many_scans: JPEG: 5000 scans, at most {MAX_SCANS}"):
            decode_guarded(data)
    assert decode_guarded(progressive(50)).tobytes() == decode(progressive(50)).tobytes()


def photo_header(num_tags: int, length: int) -> bytes:
    """Returns an EXIF block whose tags all name the same bytes, `length` of them."""
    start = 8 + 2 + 12 * num_tags + 4
    tags = b"".join(struct.pack("<HHII", 1000 + tag, 7, length, start) for tag in range(num_tags))
    return b"II*\0" + struct.pack("<IH", 8, num_tags) + tags + bytes(4 + length)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(chunks: bytes) -> bytes:
    whole = encoded(GREY8, "PNG")
    return whole[:33] + chunks + whole[33:]


def jpeg_with(segments: bytes) -> bytes:
    whole = encoded(GREY8, "JPEG")
    return whole[:2] + segments + whole[2:]


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def in_segments(header: bytes) -> bytes:
    return b"".join(segment(0xE1, b"Exif\0\0" + header[i : i + 65_000]) for i in range(0, len(header), 65_000))


COSTLY = {
    "tags that name the same bytes": lambda: png_with(chunk(b"eXIf", photo_header(40_000, 600_000))),
    "such tags in compressed text": lambda: png_with(
        chunk(
            b"zTXt",
            b"Raw profile type exif\0\0"
            + zlib.compress(b"\nexif\n 500000\n" + (b"Exif\0\0" + photo_header(20_000, 250_000)).hex().encode()),
        )
    ),
    "chunks": lambda: png_with(chunk(b"prVt", b"") * 300_000),
    "such tags in segments": lambda: jpeg_with(in_segments(photo_header(40_000, 600_000))),
    "segments": lambda: jpeg_with(segment(0xFE, b"") * 300_000),
}


@pytest.mark.parametrize("name", COSTLY)
def test_files_with_costly_headers_are_left_to_a_child_process(name):
    data = COSTLY[name]()
    assert guarded_decode._may_be_slow(data)
    if "tags" in name:
        with pytest.raises(ImageError, match=r"too_much_memory|undecodable"):
            decode_guarded(data)
    else:
        assert decode_guarded(data).size == GREY8.shape[::-1]


def test_a_jpeg_frame_of_many_segments_is_rejected():
    frame = dicom_files.jpeg(GREY8)
    long_frame = frame[:2] + segment(0xFE, b"") * 300_000 + frame[2:]
    data = dicom_files.encapsulated(GREY8, long_frame, uid.JPEGBaseline8Bit, BitsStored=8)
    with pytest.raises(ImageError, match="header_too_large"):
        decode_guarded(data)


def test_ordinary_files_are_decoded_where_they_are(grey8):
    for data in (
        encoded(grey8),
        encoded(grey8, "JPEG"),
        encoded(grey8, "JPEG", progressive=True),
        encoded(grey8, "BMP"),
    ):
        assert not guarded_decode._may_be_slow(data)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "JPEG2000", "DICOM"])
def test_a_child_process_gives_the_same_image(grey8, grey16, kind):
    data = dicom_files.compressed(grey16, uid.RLELossless) if kind == "DICOM" else encoded(grey8, kind)
    here, there = decode(data), decode_guarded(data)
    assert (there.mode, there.size, there.tobytes()) == (here.mode, here.size, here.tobytes())
    with pytest.raises(ImageError) as caught:
        decode_guarded(data[: len(data) // 2])
    assert caught.value.reason == "undecodable"


def stop_child() -> None:
    """Ends the child process of the tests before."""
    guarded_decode._close()


def test_a_decoder_that_takes_too_long_or_crashes_is_ended(grey8, monkeypatch, tmp_path):
    """The decoder of the child process is exchanged for one that never ends, takes all memory, or ends the process."""
    body = {
        "slow": "while True: pass",
        "greedy": "bytearray(2**40)",
        "crash": "import os; os.abort()",
    }
    reasons = {"slow": "too_slow", "greedy": "too_much_memory", "crash": "undecodable"}
    for name, code in body.items():
        stop_child()
        (tmp_path / "sitecustomize.py").write_text(
            f"import PIL.Image\ndef load(*args, **kwargs):\n    {code}\nPIL.Image.open = load\n"
        )
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(guarded_decode.__file__).parents[2]}")
        with pytest.raises(ImageError) as caught:
            decode_guarded(encoded(grey8, "GIF"), max_seconds=1)
        assert caught.value.reason == reasons[name], caught.value
    stop_child()
    monkeypatch.undo()
    assert decode_guarded(encoded(grey8, "GIF")).size == (110, 70)
