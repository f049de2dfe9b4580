"""Defines the run folder: its files, the job that it belongs to, and how its model was made."""
