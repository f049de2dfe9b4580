"""Writes the tables of `docs/costs.md`, worked out from the measured rates and the prices in `costs.json`.

Run as `python docs/costs.py`, with other numbers in a file of one's own: `python docs/costs.py my-costs.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SIZES = (5_000, 500_000, 50_000_000)


def preparation(known: dict[str, Any]) -> list[list[str]]:
    """Returns the table of Dataflow: CPU time, wall time, and the cost of compute and requests."""
    measured, assumed, prices = known["measured"], known["assumed"], known["prices"]
    hour = prices["dataflow_vcpu_hour"] + assumed["gb_per_vcpu"] * prices["dataflow_gb_hour"]
    rows = [["images", "jobs × vCPUs", "decoding, vCPU hours", "planning", "time", "compute", "requests"]]
    for images in SIZES:
        jobs, vcpus = assumed["jobs"][str(images)], assumed["vcpus_of_a_job"][str(images)]
        decoding_h = images * measured["prepare_cpu_s"] / assumed["vcpu_in_cores"] / 3600
        planning_h = measured["plan_cpu_s"][str(images // jobs)] / assumed["vcpu_in_cores"] / 3600
        start_h = assumed["start_s"] / 3600
        time_h = start_h + decoding_h / (jobs * vcpus) + planning_h
        compute = (decoding_h + jobs * (vcpus * start_h + planning_h)) * hour
        requests = images * assumed["requests_an_image"] / 1000 * prices["read_1000"]
        rows.append(
            [
                f"{images:,}",
                f"{jobs} × {vcpus}",
                number(decoding_h),
                duration(planning_h),
                duration(time_h),
                dollars(compute),
                dollars(requests),
            ]
        )
    return rows


def storage(known: dict[str, Any]) -> list[list[str]]:
    """Returns the table of a month of storage, for the raw images and the dataset."""
    rows = [["images", "raw", "a month", "dataset", "a month"]]
    for images in SIZES:
        row = [f"{images:,}"]
        for size_bytes in (known["assumed"]["raw_bytes"], known["measured"]["dataset_bytes"]):
            gigabytes = images * size_bytes / 1e9
            row += [f"{number(gigabytes)} GB", dollars(gigabytes * known["prices"]["storage_gb_month"])]
        rows.append(row)
    return rows


def training(known: dict[str, Any]) -> list[list[str]]:
    """Returns the table of an epoch, on the CPU as measured and on GPUs as assumed."""
    assumed = known["assumed"]
    rows = [["images", "network", "on", "images/s", "an epoch", "costs"]]
    cpu = ("baseline_cnn, 90 px", "2 cores, measured", known["measured"]["train_images_per_s"], None)
    gpus = [
        (network, "1 L4, assumed", rate, known["prices"]["gpu_node_hour"])
        for network, rate in assumed["l4_images_per_s"]
    ]
    for images in SIZES:
        for network, device, rate, hour in (cpu, *gpus):
            hours = images * assumed["train_share"] / rate / 3600
            price = "" if hour is None else dollars(hours * hour)
            rows.append([f"{images:,}", network, device, f"{rate:,}", duration(hours), price])
    return rows


def number(value: float) -> str:
    """Formats a number to two significant digits; large numbers keep all digits."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def duration(hours: float) -> str:
    """Formats a time in the unit that reads best."""
    for unit, seconds in (("days", 86400), ("h", 3600), ("min", 60)):
        if hours * 3600 >= 2 * seconds:
            return f"{number(hours * 3600 / seconds)} {unit}"
    return f"{number(hours * 3600)} s"


def dollars(value: float) -> str:
    return f"${value:,.0f}" if value >= 100 else f"${value:.2f}"


def table(rows: list[list[str]]) -> str:
    """Formats a table in Markdown."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def main() -> None:
    known = json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "costs.json").read_text())
    print("\n\n".join(table(rows(known)) for rows in (preparation, storage, training)))


if __name__ == "__main__":
    main()
