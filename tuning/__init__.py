"""Searches for the best hyperparameters by trials of `trainer train`, and shows the results of such a sweep.

Part of cxrflow.
"""
