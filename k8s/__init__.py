"""Runs trainings, sweeps and preparations on Kubernetes."""
