"""The command line: commands made from dataclasses, errors that users see, progress bars, and background threads."""
