"""Decodes mutated images in a process of its own with little memory: `python fuzz_decode.py SEED NUM_INPUTS`.

Prints one line of JSON: how many came out as an image and by what reason the others did not, and what else happened.
"""

from __future__ import annotations

import collections
import io
import json
import resource
import sys
import time

import dicom_files
import numpy as np
from PIL import Image
from pydicom import uid

from beam_prep import dicom, images

MEMORY_BYTES = 3 * 2**30
SLOW_S = 5.0
SIZES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seeds() -> dict[str, bytes]:
    """One small valid file of each kind that is read."""
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(40), np.arange(48)) * 2
    grey = (smooth + rng.integers(0, 9, smooth.shape)).astype(np.uint8)
    deep = grey.astype(np.uint16) * 16
    grey_image, deep_image = Image.fromarray(grey), Image.fromarray(deep)
    colour = Image.merge("RGB", [grey_image, grey_image.rotate(180), grey_image])
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "jpeg": encoded(grey_image, "JPEG", exif=exif),
        "jpeg progressive": encoded(colour, "JPEG", progressive=True),
        "jpeg cmyk": encoded(colour.convert("CMYK"), "JPEG"),
        "png": encoded(grey_image, "PNG"),
        "png 16": encoded(deep_image, "PNG", transparency=9),
        "png palette": encoded(grey_image.convert("P"), "PNG", transparency=3),
        "png rgba": encoded(colour.convert("RGBA"), "PNG"),
        "bmp": encoded(grey_image, "BMP"),
        "bmp rgb": encoded(colour, "BMP"),
        "bmp 1": encoded(grey_image.convert("1"), "BMP"),
        "tiff": encoded(deep_image, "TIFF"),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[compression] = encoded(grey_image, "TIFF", compression=compression)
    files["group4"] = encoded(grey_image.convert("1"), "TIFF", compression="group4")
    for syntax in (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian):
        files[f"dicom {syntax.name}"] = dicom_files.file(deep, syntax=syntax, WindowCenter=900, WindowWidth=1500)
    for syntax in (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless):
        files[f"dicom {syntax.name}"] = dicom_files.compressed(deep, syntax, BitsStored=12)
    rgb = np.asarray(colour)
    files["dicom jpeg"] = dicom_files.encapsulated(rgb, dicom_files.jpeg(rgb), uid.JPEGBaseline8Bit)
    files["dicom lossless"] = dicom_files.encapsulated(deep, dicom_files.lossless_jpeg(deep, 16), uid.JPEGLosslessSV1)
    voi = dicom_files.lut([200, 20, 12], [min(20 * i, 4095) for i in range(200)])
    files["dicom lut"] = dicom_files.file(deep, VOILUTSequence=[voi], ModalityLUTSequence=[voi])
    return files


def mutate(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """One to four changes: bits, bytes, cuts, chunks put in, doubled, taken out or from elsewhere, sizes that lie."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(max(len(changed), 1)))
        if rng.random() < 0.5:  # headers are where it matters
            at = int(at % 512)
        length = int(rng.integers(1, 64))
        kind = rng.integers(8)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[at : at + 4] = rng.bytes(4)
        elif kind == 2 and rng.random() < 0.3:
            del changed[at:]
        elif kind == 3:
            changed[at:at] = rng.bytes(length)
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        elif kind == 5:
            del changed[at : at + length]
        elif kind == 6:
            other = others[int(rng.integers(len(others)))]
            changed[at : at + length] = other[at : at + length]
        else:
            width = int(rng.choice([2, 4]))
            value = int(rng.choice(SIZES)) & (2 ** (8 * width) - 1)
            changed[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.5 else "big")
    return bytes(changed)


def main(seed: int, num_inputs: int) -> None:
    files = seeds()
    for name, data in files.items():
        image = images.decode(data)
        assert set(image.size) == {40, 48}, name
        dicom.patient_id(data)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    rng = np.random.default_rng(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    wrong = []
    names, originals = list(files), list(files.values())
    slowest = (0.0, "")
    for number in range(num_inputs):
        name = names[number % len(names)]
        data = mutate(files[name], originals, rng)
        # What a crash leaves behind is the last input, for whoever looks into it.
        print(number, name, file=sys.stderr)
        start = time.perf_counter()
        try:
            image = images.decode(data)
            dicom.patient_id(data)
            outcomes["image"] += 1
            if image.mode not in ("L", "I;16") or min(image.size) < images.MIN_SIDE_PX:
                wrong.append(f"{number} {name}: {image.mode} {image.size}")
        except images.ImageError as error:
            outcomes[error.reason] += 1
            if not error.detail or dicom_files.PATIENT in error.detail or "SECRET" in error.detail:
                wrong.append(f"{number} {name}: {error.detail}")
        except BaseException as error:
            wrong.append(f"{number} {name}: {type(error).__name__}: {error}")
        took_s = time.perf_counter() - start
        slowest = max(slowest, (took_s, f"{number} {name}"))
        if took_s > SLOW_S:
            wrong.append(f"{number} {name}: {took_s:.1f} s")
    print(json.dumps({"outcomes": outcomes, "wrong": wrong, "slowest": slowest}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
