"""Trains a model: steps, phases, strategy, checkpoints."""
