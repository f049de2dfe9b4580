"""Prints the numbers of runs on the console: the tables that several commands share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from shlex import quote
from typing import TYPE_CHECKING, Any

from beam_prep.console.escapes import printable
from trainer.run.console_lines import remarks
from trainer.run.model_card import ModelCard
from trainer.run.speed import splits_of

if TYPE_CHECKING:
    from trainer.report.comparison_page import Compared


def print_numbers(numbers: Mapping[str, Any]) -> None:
    """Prints a row for each split and each set of another source, and what the sets and subgroups say about the model.

    Args:
        numbers: the content of `metrics.json`.
    """
    columns = ("num_images", "loss", "accuracy", "auroc", "sensitivity", "specificity")
    external = numbers.get("external", {})
    transfers = [values["transfer"] for values in splits_of(numbers).values() if "transfer" in values]
    validation = next((each["validation"] for each in transfers if "validation" in each), None)
    compared = {} if validation is None else {"validation": validation}
    width = max([8, *(len(name) + 2 for name in (*compared, *external))])
    print(f"{'split':{width}}" + "".join(f"{name:>13}" for name in columns))
    rows = {**compared, **splits_of(numbers), **external}
    for split, values in rows.items():
        cells = [shown(values[name]) if name in values else "–" for name in columns]
        print(f"{split:{width}}" + "".join(f"{cell:>13}" for cell in cells))
        if patients := values.get("patients"):
            cells = [patients["num_patients"], "", *(patients.get(name, "–") for name in columns[2:])]
            print(f"{'patients':{width}}" + "".join(f"{shown(cell):>13}" for cell in cells))
        for name, reason in values["undefined"].items():
            if not name.endswith("_ci95"):
                print(f"{'':{width}} {name} is undefined: {reason}")
    for values in rows.values():
        if transfer := values.get("transfer"):
            print(f"transfer:  {transfer['headline']}")
    for split, values in rows.items():
        if classes := values.get("classes"):
            _print_classes(split, classes)
    for split, values in splits_of(numbers).items():
        for trait, groups in values.get("subgroups", {}).items():
            _print_subgroups(f"{split} by {trait}", groups)
    for remark in remarks(numbers):
        print(f"note:      {remark}")


def print_speed(speed: Mapping[str, Any]) -> None:
    """Prints the speed of a training, the entry `speed` of `metrics.json`, if more than its first steps were timed."""
    if not (rate := speed["images_per_s"]):
        return
    waited = speed["input_wait_share"]
    print(
        f"speed:     {rate:,.0f} images/s on {speed['device']}, {speed['step_ms']:.1f} ms a step"
        f"{'' if waited is None else f', {waited:.1%} of it waiting for images'}; {speed['compile_s']:.1f} s to compile"
    )


def _print_classes(split: str, classes: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints a row for each class or finding of a split; the AUROC of the split is the mean of theirs."""
    columns = ("auroc", "auprc", "sensitivity", "specificity")
    names = {name: printable(name) for name in classes}
    width = max(20, len(split) + 12, *(len(name) + 4 for name in names.values()))
    heads = "".join(f"{head:>10}" for head in ("known", "positive")) + "".join(f"{head:>21}" for head in columns)
    print(f"{f'{split} by class':{width}}{heads}{'threshold':>12}")
    for name, values in classes.items():
        counts = "".join(f"{values[count]:>10}" for count in ("num_known", "num_positive"))
        cells = [with_interval(values.get(column), values.get(f"{column}_ci95")) for column in columns]
        threshold = shown(values["threshold"]) if "threshold" in values else "–"
        print(f"  {names[name]:{width - 2}}{counts}{''.join(f'{cell:>21}' for cell in cells)}{threshold:>12}")
    for name, values in classes.items():
        if reason := values["undefined"].get("auroc"):
            print(f"{'':{width}} auroc of {names[name]} is undefined: {reason}")


def _print_subgroups(title: str, groups: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints a row for each domain, age band, sex or view; a row of one class alone says so."""
    first = next(iter(groups.values()))
    columns = [name for name in ("auroc", "accuracy", "sensitivity", "specificity") if f"{name}_ci95" in first]
    names = {name: printable(name) for name in groups}
    width = max(20, *(len(name) + 4 for name in names.values()))
    print(f"{title:{width}}" + "".join(f"{head:>21}" for head in ("images", *columns)))
    for name, values in groups.items():
        cells = [with_interval(values[column], values[f"{column}_ci95"]) for column in columns]
        row = f"  {names[name]:{width - 2}}" + "".join(f"{cell:>21}" for cell in (values["num_images"], *cells))
        classes = {label: count for label, count in values["class_counts"].items() if count}
        only = (
            "".join(f"  all {count} {label}" for label, count in classes.items())
            if [*classes.values()] == [values["num_images"]]
            else ""
        )
        print(f"{row}{only}")


def print_next(run: object, *commands: str, split: str = "test", below: str = "") -> None:
    """Prints commands that a user may run next with a run.

    Args:
        run: the run folder.
        commands: the names of the commands.
        split: the split that has results to compare.
        below: the folder below the run with these results, and below any other run that was evaluated alike.
    """
    place, results = (quote(f"{run}{each}") for each in ("", below))
    of_split = "" if split == "test" else f" --split {split}"
    lines = {
        "predict": f"predict --run {place} IMAGES > predictions.csv",
        "explain": f"explain --run {place} IMAGES --output FOLDER",
        "compare": f"compare {results} OTHER_RUN{below}{of_split} --output comparison.html",
    }
    for title, command in zip_longest(["next:"], commands):
        print(f"{title or '':11}cxrflow {lines[command]}")


def print_robustness(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the entry `robustness` of a split, a row for each perturbation."""
    if not rows:
        return
    columns = [name for name in ("accuracy", "sensitivity", "specificity") if name in rows[0]]
    heads = "".join(f"{name:>13}" for name in columns)
    print(f"\n{'perturbed images':36}{'auroc':>21}{'auroc difference':>28}{heads}")
    for row in rows:
        difference = with_interval(row["auroc_difference"], row["auroc_difference_ci95"], signed=True)
        cells = "".join(f"{shown(row[name]):>13}" for name in columns)
        auroc = with_interval(row["auroc"], row["auroc_ci95"])
        print(f"{row['kind'] + ' ' + row['level']:36}{auroc:>21}{difference:>28}{cells}")
    print()


def print_decision(values: Mapping[str, Any]) -> None:
    """Prints how the images of a split were decided, and by which rule."""
    if "threshold" in values:
        print(f"threshold: {values['threshold']:.6g} ({values['threshold_rule']})")
    elif "thresholds" in values:
        print(f"threshold: one of each class, see above ({values['threshold_rule']})")
    else:
        biases = " and a bias of each class" if "biases" in values else ""
        print(f"decision:  the most probable class; calibrated by the temperature {values['temperature']:.3f}{biases}")


def print_recalibration(found: Mapping[str, Any]) -> None:
    """Prints what was fitted to a sample, and what it changes there.

    Args:
        found: the content of `recalibrations/NAME.json`.
    """
    if "classes" in found:
        _print_fitted_findings(found)
    else:
        print(f"temperature: {_fitted(found['temperature'], found['temperature_ci95'])}")
        if "biases" in found:
            for name, bias, bounds in zip(found["class_counts"], found["biases"], found["biases_ci95"], strict=True):
                print(f"bias of {printable(name)}: {_fitted(bias, bounds)}")
        else:
            print(f"{'bias:':11}{_fitted(found['bias'], found['bias_ci95'])}")
            print(f"threshold: {found['threshold']:.6g} ({found['threshold_rule']})")
        rates = [name for name in ("accuracy", "sensitivity", "specificity") if name in found["after"]]
        print(f"{'on the sample':32}{''.join(f'{name:>21}' for name in rates)}{'loss':>8}{'ECE':>8}")
        for key, title in (("before", "as the run was"), ("after", "recalibrated (by patient folds)")):
            values = found[key]
            cells = "".join(f"{with_interval(values[name], values[f'{name}_ci95']):>21}" for name in rates)
            print(f"{title:32}{cells}{values['loss_calibrated']:8.3f}{values['ece_calibrated']:8.3f}")
    for warning in found["warnings"]:
        print(f"note:      {printable(warning)}")


def _print_fitted_findings(found: Mapping[str, Any]) -> None:
    """Prints a row for each finding that was fitted to a sample, with the rates by patient folds."""
    print(f"thresholds by the rule {found['threshold_rule']}; sensitivity, specificity, loss by patient folds")
    names = {name: printable(name) for name in found["classes"]}
    width = max(10, *(len(name) + 2 for name in names.values()))
    heads = (("threshold", 11), ("temperature", 26), ("bias", 26), ("sensitivity", 21), ("specificity", 21))
    print(f"{'':{width}}" + "".join(f"{head:>{size}}" for head, size in heads) + f"{'loss before':>13}{'after':>8}")
    for name, values in found["classes"].items():
        fitted = "".join(f"{_fitted(values[each], values[f'{each}_ci95']):>26}" for each in ("temperature", "bias"))
        after = values["after"]
        rates = "".join(
            f"{with_interval(after[each], after[f'{each}_ci95']):>21}" for each in ("sensitivity", "specificity")
        )
        losses = f"{values['before']['loss_calibrated']:13.3f}{after['loss_calibrated']:8.3f}"
        print(f"{names[name]:{width}}{values['threshold']:11.4f}{fitted}{rates}{losses}")


def _fitted(value: float, bounds: Sequence[float]) -> str:
    """Formats a fitted number with the range in which it may be."""
    return f"{value:.3f} ({bounds[0]:.3f} to {bounds[1]:.3f})"


def print_comparison(compared: Sequence[Compared], split: str) -> None:
    """Prints a row for each run, with its difference from the first one, and what the columns mean."""
    width = max(len(printable(each.name)) for each in compared) + 2
    shown_names = ("auroc", "auprc", "accuracy", "sensitivity", "specificity")
    names = [name for name in shown_names if any(name in each.numbers for each in compared)]
    heads = "".join(f"{name:>21}" for name in names)
    print(f"{split:{width}}{heads}{'auroc difference':>28}{'p':>8}{'p (Holm)':>10}")
    for each in compared:
        cells = [with_interval(each.numbers.get(name), each.numbers.get(f"{name}_ci95")) for name in names]
        row = f"{printable(each.name):{width}}" + "".join(f"{cell:>21}" for cell in cells)
        if found := each.difference:
            difference = with_interval(found.value, found.ci95, signed=True)
            print(f"{row}{difference:>28}{_p_value(found.p_value):>8}{_p_value(each.adjusted_p):>10}")
        else:
            print(f"{row}{'–' if each.same_images else 'other images':>28}")
    if any("classes" in each.numbers for each in compared):
        print("auroc:     the mean of all classes or findings, each against the rest; auprc alike")
    print("intervals: 95 %, over patients; p: against the first run, two-sided, paired over patients (DeLong)")
    num_compared = sum(each.difference is not None for each in compared)
    print(f"p (Holm):  corrected for the number of comparisons, {num_compared}; the intervals are not")
    if selected := ", ".join(printable(each.name) for each in compared if each.has_selected):
        print(f"note:      {split} has selected something of {selected}: a development set, with optimistic numbers")


def print_fold(card: ModelCard) -> None:
    """Prints the images and patients of the fold of a run, if it was trained in one."""
    if fold := card.fold:
        counts = "; ".join(
            f"{split} {' and '.join(f'{count} {name}' for name, count in fold[split]['class_counts'].items())} "
            f"of {fold[split]['num_groups']} patients"
            for split in ("train", "val", "test")
            if split in fold
        )
        print(f"fold:      {fold['fold']}, {counts}")
        if domains := fold.get("domains"):
            held = "tested on, and neither trained nor validated on" if "test" in fold else "validated on"
            print(f"domains:   {printable(', '.join(domains))}: {held}; {fold['num_left_out']} images are in no split")


def print_mirrored(card: ModelCard, *, after_epochs: bool = False) -> None:
    """Prints that the numbers are of both sides of each image, if they are; the lines of epochs are not."""
    if card.tta:
        epochs = "; the epochs have the image alone" if after_epochs else ""
        print(f"mirrored:  means over each image and its mirror image (--tta){epochs}")


def with_interval(value: float | None, bounds: list[float] | None, *, signed: bool = False) -> str:
    """Formats a number with its interval."""
    if value is None:
        return "undefined"
    if signed:
        return f"{value:+.3f}" + (f" ({bounds[0]:+.3f} to {bounds[1]:+.3f})" if bounds else "")
    return f"{value:.3f}" + (f" ({bounds[0]:.3f}–{bounds[1]:.3f})" if bounds else "")


def shown(value: float | int | str | None) -> str:
    """Formats a number of a table."""
    return "undefined" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _p_value(p_value: float | None) -> str:
    return "–" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
