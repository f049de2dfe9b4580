"""Renders specs as Kubernetes API objects, which are plain dicts."""
