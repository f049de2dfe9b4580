"""DICOM files for the tests, written from scratch."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

PATIENT = "Doe^Jane-4711"


def dataset(pixels: np.ndarray, **tags) -> FileDataset:
    """A radiograph [H, W] (or [H, W, 3], or [N, H, W] with NumberOfFrames) of 8 or 16 bit, uncompressed."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = tags.pop("syntax", uid.ExplicitVRLittleEndian)
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3.4"
    made.PatientName, made.PatientID, made.PatientBirthDate = PATIENT, "SECRET-ID-0815", "19700101"
    made.StudyInstanceUID = made.SeriesInstanceUID = "1.2.3"
    made.Rows, made.Columns = pixels.shape[1:3] if "NumberOfFrames" in tags else pixels.shape[:2]
    made.SamplesPerPixel = 3 if pixels.shape[-1] == 3 else 1
    made.PhotometricInterpretation = "RGB" if made.SamplesPerPixel == 3 else "MONOCHROME2"
    if made.SamplesPerPixel == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = pixels.dtype.itemsize * 8
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in tags.items():
        setattr(made, name, value)
    made.HighBit = tags.get("HighBit", made.BitsStored - 1)
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW"
    return made


def written(made: FileDataset) -> bytes:
    """The file of a data set."""
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def file(pixels: np.ndarray, **tags) -> bytes:
    """`dataset`, written."""
    return written(dataset(pixels, **tags))


def compressed(pixels: np.ndarray, syntax: str, **tags) -> bytes:
    """A file in one of the transfer syntaxes that pydicom can write."""
    made = dataset(pixels, **tags)
    made.compress(syntax, generate_instance_uid=False)
    return written(made)


def encapsulated(pixels: np.ndarray, frame: bytes, syntax: str, **tags) -> bytes:
    """A file with a frame that was compressed elsewhere."""
    made = dataset(pixels, **tags)
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate([frame])
    made["PixelData"].VR = "OB"
    return written(made)


def jpeg(pixels: np.ndarray, **options) -> bytes:
    """A baseline JPEG frame."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def lossless_jpeg(pixels: np.ndarray, bits: int) -> bytes:
    """A lossless JPEG frame (ITU-T T.81 H, first-order prediction) of [H, W]; every category has a code of 5 bits."""
    height, width = pixels.shape
    values = pixels.astype(int)
    predicted = np.zeros_like(values)
    predicted[:, 1:], predicted[1:, 0], predicted[0, 0] = values[:, :-1], values[:-1, 0], 2 ** (bits - 1)
    codes = []
    for difference in (values - predicted).ravel().tolist():
        category = abs(difference).bit_length()
        codes.append(f"{category:05b}")
        if 0 < category < 16:
            codes.append(f"{difference if difference > 0 else difference + 2**category - 1:0{category}b}")
    text = "".join(codes)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    segments = [
        (0xC3, bytes([bits, *height.to_bytes(2, "big"), *width.to_bytes(2, "big"), 1, 1, 0x11, 0])),
        (0xC4, table),
        (0xDA, bytes([1, 1, 0, 1, 0, 0])),
    ]
    header = b"".join(bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body for marker, body in segments)
    return b"\xff\xd8" + header + scan + b"\xff\xd9"


def lut(descriptor: list[int], data: list[int]) -> Dataset:
    """An item of a modality or VOI LUT sequence."""
    item = Dataset()
    item.LUTDescriptor, item.LUTData = descriptor, data
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    return item
