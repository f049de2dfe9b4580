"""The run folder: its files, its identity, what it was made with."""
