"""`python -m beam_prep COMMAND`."""

from beam_prep.cli import main

main()
