"""Takes the numbered pictures of the pages that the commands write, and writes `docs/reading-pages.md` about them.

Run as `python docs/take_pictures.py FOLDER`. The folder gets synthetic images and what comes of them, unless it
holds them already; this takes some minutes. The pictures need Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs/images/pages"
TEXT = ROOT / "docs/reading-pages.md"

SIZE = {"width": 1120, "height": 1080}
"""The viewport and the picture, px."""
NUM_COLOURS = 64
"""The number of colours of a picture, so that its file is small."""

MARK = """([element, number]) => {
  const box = element.getBoundingClientRect();
  const mark = document.createElement("div");
  mark.textContent = number;
  mark.style = "position: absolute; z-index: 9; width: 28px; height: 28px; border-radius: 14px; background: #c2185b;" +
    "color: #fff; font: 600 16px/28px sans-serif; text-align: center;";
  mark.style.left = Math.max(box.left + window.scrollX - 34, 2) + "px";
  mark.style.top = (box.top + window.scrollY + Math.min(box.height / 2, 16) - 14) + "px";
  document.body.append(mark);
}"""
"""The script that puts a number beside an element."""

FLAGS = "--data dataset --image_size 64 --learning_rate 3e-4 --rotation_degrees 10 --zoom 0.1 --shift 0.05"
SPACE = "--image_size 64 --batch_size 16 32 --learning_rate 1e-4:3e-3 --epochs 4 --max_trials 5 --no_warm_up"
MADE = {
    "images": "synthesize --output images --num_images 400 --image_px 128",
    "dataset": "prepare --input images --output dataset --image_sizes 64 --public_salt",
    "runs/baseline": f"train {FLAGS} --threshold_rule youden --epochs 12 --output runs/baseline",
    "runs/residual": f"train {FLAGS} --arch se_resnet_small --epochs 8 --output runs/residual",
    "explained": "explain --run runs/baseline images/chest_xray/test/PNEUMONIA --output explained",
    "comparison.html": "compare runs/baseline runs/residual --output comparison.html",
    "sweep": f"search --data dataset --output sweep {SPACE}",
}
"""The files and folders of the pictures, and the commands that make them."""


@dataclass(frozen=True)
class Page:
    """A page of the product.

    Attributes:
        name: the name of its picture.
        title: the heading of its section.
        file: its file in the folder of the pictures.
        about: what the page is, in Markdown.
        marks: what the numbers stand at, as a selector of Playwright, and what they mean.
    """

    name: str
    title: str
    file: str
    about: str
    marks: tuple[tuple[str, str], ...]


def _section(title: str) -> str:
    return f'h2:text-is("{title}")'


PAGES = (
    Page(
        "dataset",
        "The page of a dataset",
        "dataset/report.html",
        "`cxrflow prepare` writes it. Look here before you train: wrong labels and shortcuts show.",
        (
            ("h1", "The name of the folder, below the day on which it was prepared."),
            (".stats", "Every input is a record, a duplicate or a rejection; the numbers add up."),
            (".contents", "All sections; the pages of runs, comparisons and sweeps have this list, too."),
            (_section("Classes and splits"), "Images and patients of each class in each split. No patient is in two."),
        ),
    ),
    Page(
        "run",
        "The page of a run",
        "runs/baseline/report.html",
        "`cxrflow train` writes it, `cxrflow evaluate` anew.",
        (
            ("h1", "The name of the run, and what was measured on how many images of how many patients."),
            (".stats", "The numbers of test images with their 95 % intervals over patients; validation is below them."),
            (".contents", "All sections: calibration, patients, wrong predictions, configuration."),
            ("section >> nth=0", "The epoch that was kept is the dot; the learning rate is below the loss."),
        ),
    ),
    Page(
        "comparison",
        "The page of a comparison",
        "comparison.html",
        "`cxrflow compare RUN RUN … --output FILE` writes it. All runs were measured on the same images.",
        (
            ("h1", "What is compared, and on which images."),
            ("table >> nth=0", "The runs in rows, the first one being what the others are compared with."),
            (
                _section("Differences"),
                "Differences with their 95 % intervals, before the correction for comparing several runs.",
            ),
        ),
    ),
    Page(
        "explained",
        "Heat maps",
        "explained/index.html",
        "`cxrflow explain` writes it: the regions of an image that speak for a class (Grad-CAM).",
        (
            ("h1", "The class whose evidence is shown."),
            (
                ".heat-scale",
                "The colours: from no evidence to the most of this image. They can't be compared between images.",
            ),
            ("figure >> nth=0", "The image beside its heat map."),
            ("figcaption >> nth=0", "Truth where it is known, prediction, and calibrated probability."),
        ),
    ),
    Page(
        "sweep",
        "The page of a sweep",
        "sweep/report.html",
        "`cxrflow search` writes it, `cxrflow show` anew while the search runs.",
        (
            (".stats", "The best trial, and how many are done; notes below say what is wrong with it."),
            (".contents", "All sections."),
            (_section("Best trial"), "Its settings, and a link to its run."),
        ),
    ),
)


def text_of(pages: tuple[Page, ...]) -> str:
    """Returns the page about the pages, in Markdown."""
    parts = [
        "# Reading the pages",
        "The commands write pages that need no server: open the file in a browser. Each one is a single file (heat "
        "maps have their pictures beside it), can be printed, and follows light or dark of the browser. The pictures "
        "show synthetic images; `docs/take_pictures.py` takes them.",
    ]
    for page in pages:
        parts += [
            f"## {page.title}",
            page.about,
            f"![{page.title}, with numbers](images/pages/{page.name}.png)",
            "\n".join(f"{number}. {meaning}" for number, (_, meaning) in enumerate(page.marks, 1)),
        ]
    return "\n\n".join(parts) + "\n"


def make_all(folder: Path) -> None:
    """Makes the images, the dataset, the runs and the sweep that the folder does not hold yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, command in MADE.items():
        if not (folder / name).exists():
            subprocess.run([sys.executable, "-m", "cxrflow", *command.split()], cwd=folder, check=True)


def take(browser: Any, page: Page, folder: Path) -> None:
    """Takes the picture of a page with its numbers.

    Raises:
        SystemExit: a mark is at nothing that the picture shows.
    """
    from PIL import Image

    tab = browser.new_page(viewport=SIZE, color_scheme="light")
    tab.goto((folder / page.file).resolve().as_uri())
    tab.add_style_tag(content="body { padding-left: 48px !important; }")  # the numbers stand there
    for number, (selector, _) in enumerate(page.marks, 1):
        element = tab.locator(selector).first
        box = element.bounding_box() if element.count() else None
        if box is None or box["y"] > SIZE["height"]:
            raise SystemExit(f"{page.file}: mark {number}, {selector}: expected it in the picture, found {box}")
        tab.evaluate(MARK, [element.element_handle(), number])
    file = PICTURES / f"{page.name}.png"
    tab.screenshot(path=file)
    tab.close()
    Image.open(file).convert("RGB").quantize(NUM_COLOURS).save(file, optimize=True)


def main(folder: Path) -> None:
    """Takes all pictures and writes the page about them."""
    from playwright.sync_api import sync_playwright

    make_all(folder)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for page in PAGES:
            take(browser, page, folder)
        browser.close()
    TEXT.write_text(text_of(PAGES), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
