"""Checks a submission before it is sent to a cluster."""
