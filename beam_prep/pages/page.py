"""What the HTML pages of all packages share: templates, images and figures inside the page, an atomic write."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from typing import TYPE_CHECKING

import numpy as np

from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.paths import AnyPath

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

# Colours to draw figures with. Each stands for a colour of the page, which differs between its light and dark mode, and
# is replaced by it in the SVG; a figure drawn in any other colour keeps that one in both modes.
INK = "#010203"
MUTED = "#010204"
RULE = "#010205"
NORMAL = "#010206"
PNEUMONIA = "#010207"
PAPER = "#010208"
CLASS_COLOURS = (NORMAL, PNEUMONIA)  # by label
# Each stands out by 3:1 at least from the paper of the page, in light and dark mode.
SERIES_COLOURS = ("#2f7fc1", "#c4621a", "#2c8f5a", "#a55bb5", "#8a7a1e", "#c24a6e")
_PAGE_COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    NORMAL: "var(--normal)",
    PNEUMONIA: "var(--pneumonia)",
    PAPER: "var(--paper)",
}


def render(room: str, template: str, **values: object) -> str:
    """Fills a template, with every value escaped.

    Args:
        room: package whose `templates` folder holds it; the base page of `beam_prep.pages` is found from everywhere.
        template: its file name.
        values: what it names; one that is missing is an error.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loaders = [PackageLoader(name, "templates") for name in dict.fromkeys((room, "beam_prep.pages"))]
    environment = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values)


def write_page(path: AnyPath, html: str) -> None:
    """Writes a page whole, so that a reader finds the old page or the new one, never half of one."""
    with open_atomic(path) as file:
        # A file name that is not valid UTF-8 carries surrogates, which no encoding takes as they are.
        file.write(html.encode("utf-8", "backslashreplace"))


def image_uri(pixels: np.ndarray, max_px: int | None = None) -> str:
    """An image as a PNG data URI.

    Args:
        pixels: grey, uint8 [H, W], or RGB, uint8 [H, W, 3].
        max_px: shrinks it, aspect kept, until no side is longer; None leaves it as it is.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    if max_px is not None:
        image.thumbnail((max_px, max_px))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def figure_svg(figure: Figure, label: str) -> Markup:
    """A matplotlib figure as inline SVG in the colours and the font of the page; the same figure gives the same text.

    Args:
        figure: made with `matplotlib.figure.Figure`, drawn in the colours of this module. Black text becomes the
            page's text colour; spines and ticks are styled here.
        label: what it shows, for a reader who cannot see it.
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
    body = re.sub(r"font:\s*([\d.]+px)[^;\"]*", r"font-size: \1", body)  # the family is the page's
    body = re.sub(r"font-family:[^;\"]*;?\s*", "", body).replace("xlink:href", "href")
    for colour, of_page in _PAGE_COLOURS.items():
        body = body.replace(colour, of_page)
    # Matplotlib names things alike in each figure, and an id is of the whole page: keep those referred to, made unique.
    prefix = f"f{hashlib.sha256(body.encode()).hexdigest()[:8]}-"
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="{prefix}{found[1]}"' if found[1] in used else "", body)
    body = re.sub(r'(href="|url\()#', rf"\1#{prefix}", body)
    body = re.sub(r"\n\s*", "\n", body).strip()
    return Markup('<svg {} role="img" aria-label="{}">\n{}').format(Markup(view_box), label, Markup(body))


def _dress(figure: Figure) -> None:
    from matplotlib.text import Text

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(MUTED)
        axes.tick_params(which="both", color=MUTED, labelcolor=INK, width=0.8)
        axes.set_axisbelow(True)
    for text in figure.findobj(Text):
        if text.get_color() == "black":
            text.set_color(INK)
