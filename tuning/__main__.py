"""Runs `python -m tuning COMMAND`; in a pod its output is kept."""

from beam_prep.console.distribution import refuse_strangers
from beam_prep.console.signals import end_silently_on_interrupt

if __name__ == "__main__":
    end_silently_on_interrupt()
    refuse_strangers("tuning")
    from beam_prep.kept_log import keep_log_if_asked

    keep_log_if_asked()
    from tuning.cli import main

    main()
