"""Runs `python -m beam_prep COMMAND`."""

from beam_prep.console.distribution import refuse_strangers
from beam_prep.console.signals import end_silently_on_interrupt

if __name__ == "__main__":
    end_silently_on_interrupt()
    refuse_strangers("beam_prep")
    from beam_prep.cli import main

    main()
