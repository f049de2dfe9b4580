"""Predictions of a split, and numbers from them."""
