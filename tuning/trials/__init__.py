"""One trial: search space, process, files."""
