"""Specs to Kubernetes API objects, as plain dicts."""
