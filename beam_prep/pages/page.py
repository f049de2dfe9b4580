"""Renders the HTML pages of all packages, with their images and figures inside the page."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from beam_prep.pages.origin import Origin
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.paths import AnyPath

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

# The colours to draw figures with. In the SVG they are replaced by the colours of the page, which differ between its
# light and dark mode; all other colours stay the same in both modes.
INK = "#010203"
MUTED = "#010204"
RULE = "#010205"
NORMAL = "#010206"
PNEUMONIA = "#010207"
PAPER = "#010208"
CLASS_COLOURS = (NORMAL, PNEUMONIA)  # the index is the label
# The colours of series have a contrast of at least 3:1 to the paper of the page, in light and dark mode.
SERIES_COLOURS = ("#2f7fc1", "#c4621a", "#2c8f5a", "#a55bb5", "#8a7a1e", "#c24a6e")
TEXT_PT = 10
"""The size of all text in figures, pt: the page shows every figure at one scale, so that all text has one size."""
FRAMED_PT = 4.75 * 72
"""The width of a figure, pt, above which it has a frame of its own, which scrolls sideways on a phone."""
_PAGE_COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    NORMAL: "var(--normal)",
    PNEUMONIA: "var(--pneumonia)",
    PAPER: "var(--paper)",
}


class Anchored(NamedTuple):
    """The sections of a page with an anchor at each heading.

    Attributes:
        headings: the anchor and the text of each heading.
        body: the HTML of the sections.
    """

    headings: list[tuple[str, str]]
    body: Markup


def render(room: str, template: str, *, origin: Origin, **values: object) -> str:
    """Renders a template, with all values escaped.

    Args:
        room: the package whose `templates` folder holds the template, which may extend those of `beam_prep.pages`.
        template: the file name of the template.
        origin: the origin of the content, for the head of the page.
        values: the values of the names in the template; a missing one is an error.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loaders = [PackageLoader(name, "templates") for name in dict.fromkeys((room, "beam_prep.pages"))]
    environment = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(origin=origin, with_anchors=_with_anchors, **values)


def _with_anchors(body: str) -> Anchored:
    """Gives each `h2` of the sections an anchor that is made of its text and unique in the page."""
    from markupsafe import Markup

    headings: list[tuple[str, str]] = []
    taken = set(re.findall(r' id="([^"]+)"', body))

    def anchored(found: re.Match[str]) -> str:
        text = Markup(found[1]).striptags()
        anchor = re.sub(r"\W+", "-", text.lower()).strip("-") or "section"
        while anchor in taken:
            anchor += "-section"
        taken.add(anchor)
        headings.append((anchor, text))
        return f'<h2 id="{anchor}">{found[1]}</h2>'

    return Anchored(headings, Markup(re.sub(r"<h2>(.*?)</h2>", anchored, body, flags=re.DOTALL)))


def write_page(path: AnyPath, html: str) -> None:
    """Writes a page atomically: a reader sees the old page or the new one."""
    with open_atomic(path) as file:
        # A file name that is not valid UTF-8 has surrogates, which can't be encoded.
        file.write(html.encode("utf-8", "backslashreplace"))


def image_uri(pixels: np.ndarray, max_px: int | None = None) -> str:
    """Returns an image as the data URI of a PNG.

    Args:
        pixels: the image, grey uint8 [H, W], or RGB uint8 [H, W, 3].
        max_px: the longest side, to which a larger image is shrunk with its aspect kept; None keeps the size.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    if max_px is not None:
        image.thumbnail((max_px, max_px))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def literal(text: str) -> str:
    """Returns a text for a matplotlib figure that is drawn as it is: not as a formula, nor left out of the legend."""
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def figure_svg(figure: Figure, label: str) -> Markup:
    """Returns a matplotlib figure as inline SVG in the colours and font of the page; equal figures give equal text.

    Args:
        figure: a `matplotlib.figure.Figure`, drawn in the colours of this module. Black text gets the text colour of
            the page; spines and ticks are styled here.
        label: a description of the figure, for readers who cannot see it.
    """
    import matplotlib
    from markupsafe import Markup

    _dress(figure)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "cxrflow", "svg.fonttype": "none"}):
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    _, view_box, body = re.split(r'<svg[^>]*(viewBox="[^"]*")[^>]*>', buffer.getvalue(), maxsplit=1)
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"font:\s*([\d.]+px)[^;\"]*", r"font-size: \1", body)  # the page sets the font family
    body = re.sub(r"font-family:[^;\"]*;?\s*", "", body).replace("xlink:href", "href")
    for colour, of_page in _PAGE_COLOURS.items():
        body = body.replace(colour, of_page)
    # Matplotlib uses the same ids in all figures, but an id must be unique in the page: ids that are referred to get a
    # prefix, all others are removed.
    prefix = f"f{hashlib.sha256(body.encode()).hexdigest()[:8]}-"
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="{prefix}{found[1]}"' if found[1] in used else "", body)
    body = re.sub(r'(href="|url\()#', rf"\1#{prefix}", body)
    body = re.sub(r"\n\s*", "\n", body).strip()
    width_pt = round(72 * figure.get_figwidth())
    style = Markup('<svg style="--width-pt: {}" {} role="img" aria-label="{}">\n{}')
    svg = style.format(width_pt, Markup(view_box), label, Markup(body))
    if width_pt <= FRAMED_PT:
        return svg
    return Markup('<div class="scroll" tabindex="0" role="region" aria-label="{}">{}</div>').format(_title(label), svg)


def _title(label: str) -> str:
    """Returns the beginning of the description of a figure, which names it."""
    return re.split("[:;,.(]", label, maxsplit=1)[0].strip()


def _dress(figure: Figure) -> None:
    from matplotlib.text import Text

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(MUTED)
        axes.tick_params(which="both", color=MUTED, labelcolor=INK, width=0.8)
        axes.set_axisbelow(True)
    for text in figure.findobj(Text):
        text.set_fontsize(TEXT_PT)
        if text.get_color() == "black":
            text.set_color(INK)
