"""Two replicas (logical devices of the CPU) on the cores of one: what the strategy itself costs.

Run as `python benchmarks/two_replicas.py`. An epoch of the baseline CNN at 90 px, as in `training_epoch.py`. The two
share the same cores, so 1 would be perfect: what is lost goes into the second copy of the update and the sum of the
gradients, once a step each, whatever the batch. Goal: 0.85.
"""

from __future__ import annotations

import tempfile

from measure import phantom_images, report, run_in_turn, write_records
from training_epoch import NUM_STEPS, epoch, make_train_step

from trainer.config.train import TrainConfig
from trainer.training.strategy import make_strategy

ROUNDS = 4


def main() -> None:
    """Prints the rates and ratios."""
    for batch_size, num_steps in NUM_STEPS.items():
        configs = [TrainConfig(data="", output="", batch_size=batch_size, num_replicas=count) for count in (2, 1)]
        strategies = [make_strategy(config) for config in configs]  # two first: TensorFlow makes its devices once
        with tempfile.TemporaryDirectory() as folder:
            source = write_records(folder, phantom_images(num_steps * batch_size, 90))
            rivals = {
                name: epoch(make_train_step(config, strategy, augment=True), source, batch_size)
                for name, config, strategy in zip(("two replicas", "one"), configs, strategies, strict=True)
            }
            report(
                f"replicas on the same cores, 90 px, batch {batch_size}",
                run_in_turn(rivals, rounds=ROUNDS),
                ("two replicas", "one", 0.85),
            )


if __name__ == "__main__":
    main()
