"""The command line: commands from dataclasses, errors as one line, progress."""
