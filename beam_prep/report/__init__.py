"""Writes the dataset report, an HTML page."""
