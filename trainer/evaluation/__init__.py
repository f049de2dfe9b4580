"""Predicts the splits of a dataset and measures the predictions."""
