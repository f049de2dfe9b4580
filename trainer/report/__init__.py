"""Writes the pages of runs, comparisons and heat maps."""
