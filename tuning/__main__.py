"""Runs `python -m tuning COMMAND`."""

from tuning.cli import main

main()
