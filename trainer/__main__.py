"""Runs `python -m trainer COMMAND`; in a pod its output is kept."""

from beam_prep.console.distribution import refuse_strangers
from beam_prep.console.signals import end_silently_on_interrupt

if __name__ == "__main__":
    end_silently_on_interrupt()
    refuse_strangers("trainer")
    from beam_prep.kept_log import keep_log_if_asked

    keep_log_if_asked()
    from trainer.cli import main

    main()
