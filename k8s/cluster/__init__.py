"""A cluster: submit, status, logs, wait, delete."""
