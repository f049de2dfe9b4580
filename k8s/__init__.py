"""Trainer jobs, sweeps and preparations on Kubernetes."""
