"""Runs a search: the oracle, the chief, the workers, retraining."""
