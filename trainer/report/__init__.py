"""The pages of runs, comparisons and heat maps."""
