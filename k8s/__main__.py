"""Runs `python -m k8s COMMAND`."""

from beam_prep.console.distribution import refuse_strangers
from beam_prep.console.signals import end_silently_on_interrupt

if __name__ == "__main__":
    end_silently_on_interrupt()
    refuse_strangers("k8s")
    from k8s.cli import main

    main()
