"""Prints how much the AUROC of the best setting owes to its having been chosen on the folds that it is measured on.

Run as `python benchmarks/nested_selection.py [docs/recipe/results.csv]`. The best setting is chosen anew for each fold,
on the other folds alone, and measured on the fold that was left out; the mean over the folds is free of the choice.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parents[1] / "docs/recipe/results.csv"


def choose(areas: dict[str, dict[int, float]], folds: Sequence[int]) -> str:
    """Returns the setting with the highest mean AUROC over some folds."""
    return max(areas, key=lambda setting: np.mean([areas[setting][fold] for fold in folds]))


def main(path: Path) -> None:
    """Prints a line for the settings that were trained on all folds, and one for those on the first two."""
    areas: dict[str, dict[int, float]] = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            areas.setdefault(row["setting"], {})[int(row["fold"])] = float(row["auroc"])
    for folds in (sorted(set().union(*areas.values())), [1, 2]):
        complete = {setting: of_folds for setting, of_folds in areas.items() if set(folds) <= of_folds.keys()}
        best = choose(complete, folds)
        chosen = [choose(complete, [other for other in folds if other != fold]) for fold in folds]
        plain = np.mean([complete[best][fold] for fold in folds])
        nested = np.mean([complete[setting][fold] for setting, fold in zip(chosen, folds, strict=True)])
        print(
            f"{len(complete)} settings on {len(folds)} folds: {best} {plain:.4f}; "
            f"chosen without the fold ({', '.join(chosen)}): {nested:.4f}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)
