"""Draws the figures of the dataset report as inline SVG in the colours of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beam_prep.dataset.image_stats import Feature
from beam_prep.dataset.manifest import Manifest
from beam_prep.pages.page import CLASS_COLOURS, INK, MUTED, RULE, figure_svg
from beam_prep.planning.shortcut_audit import Histogram

if TYPE_CHECKING:
    from markupsafe import Markup

GREY_TOP = 3  # upper end of a grey histogram, in multiples of the mean count


def split_chart(manifest: Manifest) -> Markup:
    """Draws the number of images by split and class, as horizontal bars."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.7, 0.6 + 0.8 * max(len(manifest.splits), 1)), layout="constrained")
    axes = figure.subplots()
    largest = max((count for split in manifest.splits.values() for count in split.class_counts.values()), default=0)
    bar_height = 0.36
    for label, name in enumerate(manifest.class_names):
        counts = [split.class_counts[name] for split in manifest.splits.values()]
        places = np.arange(len(counts)) + (label - (len(manifest.class_names) - 1) / 2) * bar_height
        bars = axes.barh(places, counts, height=bar_height * 0.92, color=CLASS_COLOURS[label], label=name)
        axes.bar_label(bars, labels=[f"{count:,}" for count in counts], padding=4, color=INK)
    axes.set_yticks(range(len(manifest.splits)), list(manifest.splits))
    axes.invert_yaxis()
    axes.set_xlim(0, max(largest * 1.12, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("images")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, borderaxespad=0)
    counts_text = "; ".join(
        f"{split}: " + ", ".join(f"{count} {name}" for name, count in counts.class_counts.items())
        for split, counts in manifest.splits.items()
    )
    return figure_svg(figure, f"Images by split and class. {counts_text}")


def grey_histogram(pixels: np.ndarray, label: str) -> Markup:
    """Draws the histogram of the grey values of an image, uint8 [H, W], in 64 bins, on one scale for all images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 0.9), layout="constrained")
    axes = figure.subplots()
    counts, edges = np.histogram(pixels, bins=64, range=(0, 256))
    axes.stairs(counts / counts.mean(), edges, fill=True, color=MUTED, linewidth=0)
    axes.set_xlim(0, 256)
    axes.set_ylim(0, GREY_TOP)  # a black border would press all the rest flat
    axes.set_xticks([0, 128, 255])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return figure_svg(figure, label)


def class_histogram(feature: Feature, histogram: Histogram, width: float) -> Markup:
    """Draws the histogram of a feature, both classes on one axis, as shares of their class; `width` is in inches."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(width, 2.7), layout="constrained")
    axes = figure.subplots()
    # A bin holds whole numbers of steps: shifted left by half a step, a value stands in the middle of its bar.
    edges = histogram.start - 0.5 / feature.steps + histogram.step * np.arange(histogram.num_bins + 1)
    spread = []
    for label, (name, counts) in enumerate(histogram.counts.items()):
        share = 100 * np.array(counts) / max(sum(counts), 1)
        axes.stairs(share, edges, fill=True, color=CLASS_COLOURS[label], alpha=0.25, linewidth=0)
        axes.stairs(share, edges, color=CLASS_COLOURS[label], linewidth=1.6, label=name)
        if any(counts):
            spread.append(f"most {name} images around {edges[share.argmax()] + histogram.step / 2:.4g}")
    axes.margins(x=0.04)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=feature.steps == 1))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_xlabel(feature.axis)
    axes.set_ylabel("% of class")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, borderaxespad=0)
    return figure_svg(figure, f"Histogram by class of {feature.title.lower()} ({feature.axis}): {', '.join(spread)}")
