"""Measures the peak memory of the work on one image of 64 million pixels, the most that are accepted, by kind of file.

Run as `python benchmarks/image_memory.py [MEGAPIXELS]`. Each kind of file and equalization has a process of its own,
whose memory before the image is subtracted. Where a file is decoded in a child process, the peak of that process is a
column of its own: the two peaks are not at the same time. Linux only.
"""

from __future__ import annotations

import io
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from beam_prep.dataset.image_limits import MAX_PIXELS, ImageError
from beam_prep.dataset.patient_groups import PUBLIC_SALT
from beam_prep.images import guarded_decode
from beam_prep.pipeline.prepare_image import prepare_image
from beam_prep.sources.discover import describe

SMALL_SIDE = 256  # px of the image before, which loads all libraries


def pixels(side: int, dtype: type, channels: int = 1) -> np.ndarray:
    """Returns cells of random grey: uint8 or uint16 [side, side] or [side, side, channels]."""
    rng = np.random.default_rng(0)
    cells = rng.integers(1, np.iinfo(dtype).max, (64, 64, channels)).astype(dtype)
    image = np.kron(cells, np.ones((side // 64, side // 64, 1), dtype))
    return image[..., 0] if channels == 1 else image


def raster(kind: str, dtype: type = np.uint8, channels: int = 1) -> Callable[[int], bytes]:
    """Returns the function that writes a file of Pillow's with a side of so many px."""

    def write(side: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels(side, dtype, channels)).save(file, kind)
        return file.getvalue()

    return write


def dicom(channels: int = 1, *, padding: bool = False) -> Callable[[int], bytes]:
    """Returns the function that writes a DICOM file of 16 bit a sample with a side of so many px."""

    def write(side: int) -> bytes:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian

        data = Dataset()
        data.Rows = data.Columns = side // 64 * 64
        data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit = channels, 16, 16, 15
        data.PixelRepresentation = 0
        data.PhotometricInterpretation = "MONOCHROME1" if channels == 1 else "RGB"
        if channels > 1:
            data.PlanarConfiguration = 0
        stored = pixels(side, np.uint16, channels)
        if padding:
            stored[:, : side // 8] = 0
            data.PixelPaddingValue = 0
        data.PixelData = stored.tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2"
        file = io.BytesIO()
        data.save_as(file, enforce_file_format=True)
        return file.getvalue()

    return write


KINDS: dict[str, Callable[[int], bytes]] = {
    "JPEG, grey": raster("JPEG"),
    "JPEG, colour": raster("JPEG", channels=3),
    "PNG, 8 bit": raster("PNG"),
    "PNG, 16 bit": raster("PNG", np.uint16),
    "PNG, colour": raster("PNG", channels=3),
    "TIFF, 16 bit": raster("TIFF", np.uint16),
    "JPEG 2000, 16 bit": raster("JPEG2000", np.uint16),
    "DICOM, 16 bit with padding": dicom(padding=True),
    "DICOM, colour of 16 bit": dicom(3),
}


def measure(kind: str, equalization: str, side: int) -> None:
    """Prints the growth of this process and the peak of its child, MB, and whether the image was accepted."""

    def prepare(data: bytes) -> str:
        source = describe("train/NORMAL/IM-0001.png")
        options = {"image_sizes": (224,), "equalization": equalization, "encoding": "raw", "salt": PUBLIC_SALT}
        try:
            prepare_image(data, source, "name", **options)
        except ImageError as error:
            return error.reason
        return "accepted"

    large = KINDS[kind](side)
    prepare(KINDS[kind](SMALL_SIDE))
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of the making of the file
    before = resident("VmRSS") - len(large)
    outcome = prepare(large)
    grown = resident("VmHWM") - before
    guarded_decode._close()
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    peaks = f"{grown / 1e6:>6.0f} MB{child / 1e6:>8.0f} MB{len(large) / 1e6:>8.0f} MB"
    print(f"{kind:<28}{equalization:<8}{outcome:<18}{peaks}")


def resident(name: str) -> int:
    """Returns a number of this process from /proc, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main() -> None:
    if len(sys.argv) == 4:
        measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        return
    num_pixels = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else MAX_PIXELS
    side = int(num_pixels**0.5) // 64 * 64
    print(f"{side} x {side} px to 224 px")
    print(f"{'file':<28}{'':<8}{'':<18}{'thread':>9}{'child':>11}{'file':>11}")
    for kind in KINDS:
        for equalization in ("hist", "clahe"):
            subprocess.run([sys.executable, __file__, kind, equalization, str(side)], check=True)


if __name__ == "__main__":
    main()
