"""Draws frontal chest X-ray phantoms: anatomy in attenuation, then scatter, exposure and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

MIN_IMAGE_PX = 64

# Anatomy is smooth, so it is drawn at this size and enlarged; only the quantum noise needs the full size.
_CANVAS_PX = 256
_SIDES = (-1.0, 1.0)  # image left (the patient's right), image right

# Every length below is in half image widths: x runs from -1 (left) to 1 (right), y from -1 (top) to 1 (bottom).

# Anatomy differs between patients: each number is drawn evenly from its range.
_ANATOMY_RANGES = {
    "body_width": (0.86, 1.02),
    "shoulder_y": (-0.86, -0.76),
    "neck_width": (0.2, 0.28),
    "lung_width": (0.31, 0.36),
    "apex_height": (0.78, 0.9),
    "base_y": (0.48, 0.6),
    "base_step": (0.0, 0.07),  # the diaphragm stands lower at the image right
    "dome": (0.56, 0.96),
    "heart_x": (0.1, 0.17),
    "heart_radius": (0.27, 0.34),
    "rib_spacing": (0.15, 0.18),
    "rib_phase": (0.0, 1.0),
    "rib_slope": (0.7, 1.2),
    "rib_attenuation": (0.06, 0.24),
    "clavicle_tilt": (0.05, 0.25),
    "spine_bend": (-0.03, 0.03),
    "breast": (-0.12, 0.14),  # no breast shadow under 0
}


@dataclass(frozen=True)
class Patient:
    """The anatomy, lesions and veil that all images of one patient share."""

    pneumonia: bool
    viral: bool
    anatomy: dict[str, float]
    vessels: np.ndarray  # [segments, 5]: x0, y0, x1, y1, width
    lesions: list[tuple[float, float, float, float, float]]  # side, across the lung (-1 to 1), y, radii in x and y
    lesion_attenuation: float  # soft tissue of the whole chest = 1
    lesion_texture: tuple[np.ndarray, np.ndarray]  # noise [H, W] that bends the outline and that mottles the inside
    veil_angle: float  # the direction in which the lungs of a NORMAL patient are hazier, radians


def phantom(*, pneumonia: bool, image_px: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws one image of a new patient.

    Args:
        pneumonia: True to plant one to three opacities in the lungs.
        image_px: side of the square image in pixels, 64 or more.
        rng: the source of all random numbers; equal states give equal images.

    Returns:
        The image, uint8 [image_px, image_px], bright where the body absorbs; and the mask of the opacities, bool
        [image_px, image_px], all False without pneumonia.

    Raises:
        ValueError: `image_px` is under 64.
    """
    check_image_px(image_px)
    return expose(new_patient(pneumonia, bool(rng.random() < 0.5), rng), image_px, rng)


def check_image_px(image_px: int) -> None:
    """Checks that an image is large enough for a phantom; raises a ValueError otherwise."""
    if image_px < MIN_IMAGE_PX:
        raise ValueError(f"image_px is {image_px}; expected {MIN_IMAGE_PX} or more")


def new_patient(pneumonia: bool, viral: bool, rng: np.random.Generator) -> Patient:
    """Draws a patient; `viral` decides how an opacity looks, and has no effect without pneumonia."""
    first_side = float(rng.choice(_SIDES))
    low, high = (0.19, 0.27) if viral else (0.25, 0.35)
    lesions = []
    for index in range(int(rng.integers(2, 4)) if viral else int(rng.integers(1, 3))):
        side, y = first_side * (-1) ** index, rng.uniform(-0.4, 0.35)
        # The heart would hide what lies medially in the lower lung at the image right.
        across = rng.uniform(0.2 if side > 0 and y > 0 else -0.5, 0.7)
        lesions.append((side, across, y, rng.uniform(low, high), rng.uniform(low, high)))
    return Patient(
        pneumonia=pneumonia,
        viral=viral,
        anatomy={name: rng.uniform(*limits) for name, limits in _ANATOMY_RANGES.items()},
        vessels=_vessel_trees(rng),
        lesions=lesions,
        lesion_attenuation=rng.uniform(0.48, 0.58),
        lesion_texture=(_smooth_noise(12, rng), _smooth_noise(18, rng)),
        veil_angle=rng.uniform(-np.pi, np.pi),
    )


def _vessel_trees(rng: np.random.Generator) -> np.ndarray:
    """Draws the vessels that branch from both hila, float [segments, 5]: x0, y0, x1, y1, width."""
    segments = []
    for side in _SIDES:
        # (x, y, angle from the lateral direction, length, width)
        tips = [(0.15, rng.uniform(-0.08, 0.06), angle, 0.13, 0.026) for angle in np.linspace(-1.25, 1.35, 6)]
        while tips:
            x, y, angle, length, width = tips.pop()
            angle += rng.normal(0, 0.15)
            x1, y1 = x + length * np.cos(angle), y + length * np.sin(angle)
            segments.append((side * x, y, side * x1, y1, width))
            if width > 0.007:
                spread = rng.uniform(0.15, 0.5)
                tips += [(x1, y1, angle + turn, length * 0.88, width * 0.68) for turn in (-spread, spread * 0.8)]
    return np.array(segments)


def _step(distance: np.ndarray, softness: float) -> np.ndarray:
    """Returns 0 where `distance` is negative and 1 where it is positive, with an edge about `softness` wide."""
    return 0.5 + 0.5 * np.tanh(distance / softness)


def _flat(x: np.ndarray) -> np.ndarray:
    """Returns x⁴, the exponent of a flat-topped bell; two squarings are ten times as fast as a power."""
    return np.square(np.square(x))


def _resize(field: np.ndarray, image_px: int) -> np.ndarray:
    """Resizes a field [H, W] to float32 [image_px, image_px], bicubic."""
    image = Image.fromarray(field.astype(np.float32))
    return np.asarray(image.resize((image_px, image_px), Image.Resampling.BICUBIC))


def _smooth_noise(grid: int, rng: np.random.Generator) -> np.ndarray:
    """Draws noise of about unit variance whose bumps are 2 / grid wide: float32 [canvas, canvas]."""
    return _resize(rng.standard_normal((grid, grid)), _CANVAS_PX)


def expose(patient: Patient, image_px: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws one image of a patient, uint8, and the mask of its opacities, bool, both [image_px, image_px]."""
    angle, zoom = rng.normal(0, 0.045), rng.uniform(1.02, 1.14)
    shift_x, shift_y = rng.normal(0, 0.045, size=2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * zoom
    axis = (np.arange(_CANVAS_PX, dtype=np.float32) + 0.5) * (2 / _CANVAS_PX) - 1
    column, row = np.meshgrid(axis - np.float32(shift_x), axis - np.float32(shift_y))
    inverse = np.linalg.inv(turn).astype(np.float32)
    x = inverse[0, 0] * column + inverse[0, 1] * row  # [H, W], patient coordinates from here on
    y = inverse[1, 0] * column + inverse[1, 1] * row

    vessels = Image.new("L", (_CANVAS_PX * 2, _CANVAS_PX * 2))
    pen = ImageDraw.Draw(vessels)
    ends_px = (patient.vessels[:, :4].reshape(-1, 2) @ turn.T + (shift_x, shift_y) + 1) * _CANVAS_PX
    for line, width in zip(ends_px.reshape(-1, 4), patient.vessels[:, 4], strict=True):
        pen.line(line.tolist(), fill=int(60 + 7000 * width), width=max(1, round(width * _CANVAS_PX)))
    vessel = np.asarray(vessels.filter(ImageFilter.GaussianBlur(1.5)).reduce(2), np.float32) / 255

    attenuation, lungs = _attenuation(patient.anatomy, x, y, vessel, rng)
    opacity = _opacity(patient, x, y, lungs)
    if patient.pneumonia:
        attenuation += opacity
    else:
        # A veil without a focus adds the same attenuation to each lung, so that no sum over the image tells the class.
        for lung, side in zip(lungs, _SIDES, strict=True):
            ramp = np.cos(patient.veil_angle) * (y + 0.1) / 0.6 + np.sin(patient.veil_angle) * (x - side * 0.4) / 0.35
            veil = lung * np.maximum(1 + 0.9 * ramp, 0)
            attenuation += veil * (opacity.sum(where=lung > 0.5) / veil.sum())
    mask = _resize(opacity, image_px) > 0.25 * opacity.max() if patient.pneumonia else np.zeros((image_px,) * 2, bool)
    return _develop(attenuation, image_px, rng), mask


def _attenuation(
    anatomy: dict[str, float], x: np.ndarray, y: np.ndarray, vessel: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns the attenuation of the healthy chest (all its soft tissue = 1) and the masks of the lungs, 0 to 1."""
    r = np.abs(x)
    shoulder = _step(y - anatomy["shoulder_y"] - 0.25 * (r - 0.3), 0.1)
    half_width = anatomy["neck_width"] + (anatomy["body_width"] + 0.25 - anatomy["neck_width"]) * shoulder
    half_width -= 0.25 * _step(y + 0.35, 0.25)
    body = _step(half_width - r, 0.03)
    # The chest is round, so rays at its flanks cross less of it.
    total = body * (0.72 + 0.28 * np.maximum(1 - _flat(r / 1.1), 0))

    below = np.maximum(y, 0)
    lungs = []
    for side in _SIDES:
        across = side * x
        midline = _lung_midline(anatomy, y)
        oval = ((across - midline) / anatomy["lung_width"]) ** 2
        oval += (np.minimum(y - 0.1, 0) / anatomy["apex_height"]) ** 2
        dome = anatomy["base_y"] + anatomy["base_step"] * (side > 0) + anatomy["dome"] * (across - 0.38) ** 2
        lungs.append(_step(1 - oval, 0.12) * _step(dome - y, 0.025))
    lung = lungs[0] + lungs[1]

    spine_x = x - anatomy["spine_bend"] * np.sin(3 * y)
    disc = 1 + 0.12 * np.cos(2 * np.pi * (y / 0.13 + anatomy["rib_phase"]))
    spine = np.exp(-_flat(spine_x / 0.085)) * disc
    mediastinum = np.exp(-((x - 0.01) ** 2) / (2 * (0.11 + 0.05 * np.maximum(-y - 0.4, 0)) ** 2))
    trachea = np.exp(-((spine_x / 0.045) ** 2)) * _step(-0.28 - y, 0.06)
    heart_y = anatomy["base_y"] - 0.12
    tilted = (x - anatomy["heart_x"]) + 0.35 * (y - heart_y)
    heart = _step(1 - (tilted / anatomy["heart_radius"]) ** 2 - ((y - heart_y) / 0.34) ** 2, 0.25)
    knob = np.exp(-(((x - 0.12) / 0.075) ** 2) - ((y + 0.33) / 0.09) ** 2)

    cage = (
        _step(1.25 - _flat((r - 0.4) / 0.43), 0.15) * _step(y + 0.85, 0.06) * _step(anatomy["base_y"] + 0.28 - y, 0.1)
    )
    behind = (y - anatomy["rib_slope"] * (r - 0.18) ** 2) / anatomy["rib_spacing"] + anatomy["rib_phase"]
    front = (y + 0.75 * r - 0.25 * r**2) / (1.15 * anatomy["rib_spacing"]) + anatomy["rib_phase"] * 2
    ribs = _rib_band(behind) + 0.5 * _rib_band(front) * _step(r - 0.3, 0.1)
    clavicle_y = -0.6 - anatomy["clavicle_tilt"] * r - 0.05 * np.sin(7 * r)
    clavicle = np.exp(-_flat((y - clavicle_y) / 0.035)) * _step(r - 0.06, 0.03) * _step(0.78 - r, 0.05)
    scapula = np.exp(-_flat((r - 0.83 + 0.12 * y) / 0.1)) * _step(0.1 - y, 0.15) * _step(y + 0.6, 0.08)
    breast = _step(1 - ((r - 0.46) / 0.36) ** 2 - ((y - 0.22) / 0.36) ** 2, 0.25)
    stomach = np.exp(-(((x - 0.38) / 0.16) ** 2) - ((y - anatomy["base_y"] - 0.24) / 0.07) ** 2)

    total -= lung * (1 - heart) * (0.56 - 0.06 * below)
    total += lung * vessel * rng.uniform(0.1, 0.4) * (1 - heart)
    total += 0.1 * spine + 0.2 * mediastinum * _step(y + 0.75, 0.1) + 0.18 * heart + 0.1 * knob - 0.12 * trachea
    total += anatomy["rib_attenuation"] * ribs * cage * body + body * (0.22 * clavicle + 0.1 * scapula)
    total += max(anatomy["breast"], 0) * breast + body * (
        0.18 * _step(y - anatomy["base_y"] - 0.05, 0.12) - 0.12 * stomach
    )
    total += lung * 0.02 * _smooth_noise(40, rng) + body * rng.uniform(0.01, 0.04) * _smooth_noise(6, rng)
    total += body * rng.normal(0, 0.1) * x  # the patient stands turned, so that one side is thicker
    return np.maximum(total, 0), lungs


def _lung_midline(anatomy: dict[str, float], y: np.ndarray | float) -> np.ndarray | float:
    """Returns the distance of the middle of a lung from the spine; the lungs lean in towards their apex."""
    return 0.1 + anatomy["lung_width"] - 0.1 * np.clip(-y - 0.1, 0, 1)


def _rib_band(phase: np.ndarray) -> np.ndarray:
    """Draws a rib in each period of the phase, with the brighter rim of its cortex."""
    wave = np.cos(2 * np.pi * phase)
    return _step(wave - 0.3, 0.2) - 0.35 * _step(wave - 0.8, 0.2)


def _opacity(patient: Patient, x: np.ndarray, y: np.ndarray, lungs: list[np.ndarray]) -> np.ndarray:
    """Returns the attenuation of the lesions, float32 [H, W]."""
    warp, mottle = patient.lesion_texture
    opacity = np.zeros_like(x)
    for side, across, lesion_y, radius_x, radius_y in patient.lesions:
        lesion_x = float(_lung_midline(patient.anatomy, lesion_y)) + across * patient.anatomy["lung_width"]
        distance = np.hypot((side * x - lesion_x) / radius_x, (y - lesion_y) / radius_y)
        blob = _step(1 - distance + 0.15 * warp, 0.35 if patient.viral else 0.2)
        opacity = np.maximum(opacity, blob * lungs[_SIDES.index(side)])
    return patient.lesion_attenuation * opacity * np.clip(1 + (0.4 if patient.viral else 0.27) * mottle, 0.2, 1.6)


def _develop(attenuation: np.ndarray, image_px: int, rng: np.random.Generator) -> np.ndarray:
    """Turns attenuation [H, W] into an image, uint8 [image_px, image_px].

    It adds scatter, exposure, tone curve, vignetting, noise and, to some images, the marker of a side.
    """
    scatter = _resize(_resize(attenuation, 16), _CANVAS_PX)
    field = _resize(attenuation + rng.uniform(0.1, 0.25) * (scatter - attenuation), image_px)
    tone = np.clip(1 - np.exp(-rng.uniform(0.8, 2.0) * np.maximum(field, 0)), 0, 1) ** rng.uniform(0.65, 1.9)
    axis = np.linspace(-1, 1, image_px, dtype=np.float32)
    tone *= 1 - rng.uniform(0, 0.12) * (axis[:, None] ** 2 + axis**2)
    low, high = rng.uniform(0, 20), rng.uniform(170, 290)
    noise = rng.standard_normal((image_px, image_px), np.float32) * rng.uniform(1.0, 3.5)
    pixels = low + (high - low) * tone + noise
    if rng.random() < 0.4:
        size_px = image_px // 16
        marker = Image.new("L", (size_px, size_px))
        letter = "LR"[rng.integers(2)]
        ImageDraw.Draw(marker).text((size_px / 2, size_px / 2), letter, 255, anchor="mm", font_size=size_px)
        left = int(rng.choice([size_px, image_px - 2 * size_px]))
        pixels[size_px : 2 * size_px, left : left + size_px] += np.asarray(marker)
    return np.clip(pixels, 0, 255).astype(np.uint8)
