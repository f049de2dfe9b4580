"""Measures a model on sets of other sources, which it is never trained on, and fits its probabilities to one."""
