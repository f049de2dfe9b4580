"""Runs trainings, sweeps and preparations on Kubernetes. Part of cxrflow."""
