"""Runs one trial: the search space, the trainer process, the files of a sweep."""
