"""Applies a trained model to new image files, and exports it."""
