"""Computes statistics of labels and probabilities over patients: areas, shares, intervals, differences."""
