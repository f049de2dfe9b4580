"""Runs `python -m trainer COMMAND`."""

from trainer.cli import main

main()
