"""Draws the figures of the dataset report as inline SVG in the colours of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beam_prep.dataset.image_stats import Feature
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import BINARY
from beam_prep.pages.page import CLASS_COLOURS, INK, MUTED, RULE, SERIES_COLOURS, figure_svg, literal
from beam_prep.planning.shortcut_audit import Histogram

if TYPE_CHECKING:
    from markupsafe import Markup

GREY_TOP = 3  # upper end of a grey histogram, in multiples of the mean count


def split_chart(manifest: Manifest) -> Markup:
    """Draws the number of images by split and class, as horizontal bars.

    Two classes are a bar each in the group of a split; more labels have a group each, with a bar for each split.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    counts_of = {split: counts.class_counts for split, counts in manifest.splits.items()}
    if manifest.task == BINARY:
        groups, bar_height, group_inches = list(counts_of), 0.36, 0.8
        series = {name: [counts[name] for counts in counts_of.values()] for name in manifest.class_names}
    else:
        groups, bar_height, group_inches = list(manifest.class_names), 0.26, 0.55
        series = {split: list(counts.values()) for split, counts in counts_of.items() if any(counts.values())}
    colours: tuple[str, ...] = CLASS_COLOURS if manifest.task == BINARY else SERIES_COLOURS
    figure = Figure(figsize=(4.6, 0.6 + group_inches * max(len(groups), 1)), layout="constrained")
    axes = figure.subplots()
    largest = max((count for counts in series.values() for count in counts), default=0)
    for index, (name, counts) in enumerate(series.items()):
        places = np.arange(len(counts)) + (index - (len(series) - 1) / 2) * bar_height
        bars = axes.barh(places, counts, height=bar_height * 0.92, color=colours[index], label=literal(name))
        axes.bar_label(bars, labels=[f"{count:,}" for count in counts], padding=4, color=INK)
    axes.set_yticks(range(len(groups)), [literal(name) for name in groups])
    axes.invert_yaxis()
    axes.set_xlim(0, max(largest * 1.12, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("images")
    figure.legend(loc="outside upper left", ncols=max(len(series), 2), frameon=False, borderaxespad=0)
    counts_text = "; ".join(
        f"{split}: " + ", ".join(f"{count} {name}" for name, count in counts.items())
        for split, counts in counts_of.items()
    )
    return figure_svg(figure, f"Images by split and class. {counts_text}")


def grey_histogram(pixels: np.ndarray, label: str) -> Markup:
    """Draws the histogram of the grey values of an image, uint8 [H, W], in 64 bins, on one scale for all images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.8, 0.9), layout="constrained")
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
    """Draws the histogram of a feature, all its classes on one axis, as shares of the class; `width` is in inches."""
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
        axes.stairs(share, edges, color=CLASS_COLOURS[label], linewidth=1.6, label=literal(name))
        if any(counts):
            spread.append(f"most {name} images around {edges[share.argmax()] + histogram.step / 2:.4g}")
    axes.margins(x=0.04)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=feature.steps == 1))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_xlabel(feature.axis)
    axes.set_ylabel("% of class" if len(histogram.counts) > 1 else "% of images")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, borderaxespad=0)
    return figure_svg(figure, f"Histogram by class of {feature.title.lower()} ({feature.axis}): {', '.join(spread)}")
