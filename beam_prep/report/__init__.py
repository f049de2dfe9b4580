"""The dataset page."""
