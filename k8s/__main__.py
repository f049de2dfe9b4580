"""Runs `python -m k8s COMMAND`."""

from k8s.cli import main

main()
