"""Sweeps over hyperparameters: trials of `trainer train`, their results and pages."""
