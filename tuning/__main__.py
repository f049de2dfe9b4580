"""Runs `python -m tuning COMMAND`."""

from beam_prep.console.distribution import refuse_strangers
from beam_prep.console.signals import end_silently_on_interrupt

if __name__ == "__main__":
    end_silently_on_interrupt()
    refuse_strangers("tuning")
    from tuning.cli import main

    main()
