"""The training engine: steps, phases, strategy, checkpoints."""
