"""Training on the device of this machine: this project, Keras' `fit` and PyTorch side by side, a JSON line a case.

Run as `python benchmarks/gpu_training.py [--seconds 290] [--rivals project keras torch] [--data DATASET] [CASE …]`. The
most important case comes first. When the time is up, what is still running is stopped, and its line says so, like those
of the cases after it; a rival that is not installed is said to be so. Every rival has a process of its own, and they
take turns on the same device, which every line names. Without a GPU the cases are made small: their numbers show that
the benchmark runs, and nothing about a GPU.

A line holds, for each rival: `step_images_per_s` on the same batch in every step, `epoch_s` of a whole epoch with
validation, `validation_images_per_s`, `compile_s`, and `utilization`: the share of the rate of a large matrix product,
measured on the same device in the same precision, that the step reaches; for this project `training_over_step`, too:
the images per second of a real training, without validation, over those of the step. This project augments its images
in all numbers; Keras does so with its own layers in `epoch_s`; PyTorch does not augment. This project trains with
`--deterministic`, its default, but in the case that says otherwise; the others never do.

With `--data`, a prepared dataset that has 90 px, whole commands are run on it, too: `train --preset study` is timed, a
seed is trained twice and a third time with a `kill -9` in between, to compare the three bit by bit, and `--batch_size
auto` says what it takes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import select
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gpu_commands import COMMANDS, CommandError, TimeIsUpError

HERE = Path(__file__).parent
MODULES = {"project": "tensorflow", "keras": "tensorflow", "torch": "torch"}
"""The rivals, and the library that each needs."""


@dataclass(frozen=True)
class Case:
    """A training that is measured.

    Attributes:
        arch: the name of the network.
        image_size: the side of the images, px.
        batch_size: the images in a step.
        precision: bfloat16, or float32 (with TF32 where the device has it).
        trained: the part of a pretrained network that is trained: all, head, or last10 (layers).
        num_images: the training images of an epoch.
        num_val: the validation images.
        flags: other flags of `train`.
    """

    arch: str
    image_size: int
    batch_size: int
    precision: str
    trained: str = "all"
    num_images: int = 4096
    num_val: int = 512
    flags: dict[str, Any] = field(default_factory=dict)

    def small(self) -> Case:
        """Returns a case for a CPU: the same network on few small images."""
        size = 75 if self.arch == "inception_resnet_v2" else 64
        return replace(self, image_size=size, batch_size=8, precision="float32", num_images=64, num_val=16)


def best_of_this_issue() -> dict[str, Any]:
    """Returns the flags of `--preset best` as they were before the work on GPUs began."""
    settings = json.loads((HERE / "preset_best.json").read_text(encoding="utf-8"))["settings"]
    return {name: setting["value"] for name, setting in settings.items()}


def all_cases() -> dict[str, Case]:
    """Returns the cases by name, the most important first."""
    best = best_of_this_issue()
    arch, size, batch = (best.pop(name) for name in ("arch", "image_size", "batch_size"))
    del best["epochs"]
    return {
        "baseline 90 px, batch 256": Case("baseline_cnn", 90, 256, "bfloat16"),
        "baseline 90 px, batch 18": Case("baseline_cnn", 90, 18, "float32"),
        "preset best as of this issue": Case(arch, size, batch, "float32", num_images=4130, num_val=1086, flags=best),
        "vgg19 224 px, head": Case("vgg19", 224, 64, "bfloat16", "head", num_images=2048),
        "vgg19 224 px, last 10 layers": Case("vgg19", 224, 64, "bfloat16", "last10", num_images=2048),
        "inception 224 px, head": Case("inception_resnet_v2", 224, 64, "bfloat16", "head", num_images=2048),
        "inception 224 px, last 10 layers": Case("inception_resnet_v2", 224, 64, "bfloat16", "last10", num_images=2048),
        "baseline 90 px, batch 256, float32": Case("baseline_cnn", 90, 256, "float32"),
        "baseline 90 px, batch 256, not deterministic": Case(
            "baseline_cnn", 90, 256, "bfloat16", flags={"deterministic": False}
        ),
    }


class Rival:
    """A process that measures cases for one rival, see `gpu_rivals.py`.

    Args:
        name: the name of the rival.
        until: the value of `time.monotonic` at which the process is stopped.
    """

    def __init__(self, name: str, until: float) -> None:
        command = [sys.executable, str(HERE / "gpu_rivals.py"), name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._until = until

    def ask(self, question: Any) -> Any:
        """Returns the measurements of a case, given as JSON, or the name of the device if the question is None.

        Raises:
            TimeIsUpError: there was no answer in time; the process is stopped.
        """
        try:
            if time.monotonic() > self._until:
                raise TimeIsUpError
            print(json.dumps(question), file=self._process.stdin, flush=True)
            if not select.select([self._process.stdout], [], [], max(self._until - time.monotonic(), 0))[0]:
                self._process.kill()
                raise TimeIsUpError
            return json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            return {"error": f"the process of this rival has died with exit code {self._process.wait()}"}

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def main() -> None:
    """Prints a JSON line for each case."""
    cases = all_cases()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=290.0, help="time after which all is stopped")
    parser.add_argument("--rivals", nargs="+", choices=MODULES, default=list(MODULES))
    parser.add_argument("--data", help="prepared dataset with 90 px, for the commands; the other cases need none")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of: {'; '.join([*cases, *COMMANDS])}")
    given = parser.parse_args()
    names = list(cases)
    if given.data:
        names[4:4] = COMMANDS
    if unknown := set(given.cases) - set(names):
        parser.error(f"unknown case {', '.join(unknown)}; expected some of: {'; '.join(names)} (commands need --data)")
    names = [name for name in names if not given.cases or name in given.cases]
    until = time.monotonic() + given.seconds
    installed = {name: importlib.util.find_spec(MODULES[name]) is not None for name in given.rivals}
    # A process each, and one more for the case that is not deterministic: XLA reads its flags once in a process.
    processes: dict[tuple[str, bool], Rival] = {}
    devices: dict[str, str] = {}
    for name in names:
        line: dict[str, Any] = {"case": name, "devices": devices}
        try:
            if name in COMMANDS:
                line["project"] = COMMANDS[name](given.data, until)
                line["devices"] = {"project": line["project"]["speed"]["device"]}
            else:
                is_deterministic = cases[name].flags.get("deterministic", True)
                keys = {rival: (rival, is_deterministic) for rival, is_there in installed.items() if is_there}
                processes |= {key: Rival(key[0], until) for key in keys.values() if key not in processes}
                rivals = {rival: processes[key] for rival, key in keys.items()}
                devices.update({rival: process.ask(None) for rival, process in rivals.items() if rival not in devices})
                case = cases[name].small() if "CPU" in devices.values() else cases[name]
                line |= {"measured": asdict(case)}
                for rival, process in rivals.items():
                    line[rival] = process.ask(asdict(case))
                line |= {rival: {"error": "not installed"} for rival, is_there in installed.items() if not is_there}
        except TimeIsUpError:
            line["left out"] = f"{given.seconds:.0f} s are over"
        except CommandError as error:
            line["project"] = {"error": str(error)}
        print(json.dumps(line), flush=True)
    for process in processes.values():
        process.close()


if __name__ == "__main__":
    main()
