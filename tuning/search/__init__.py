"""The search: oracle, chief, workers, retraining."""
