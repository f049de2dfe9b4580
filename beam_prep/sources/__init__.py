"""Finds and makes images: in folders, buckets and CSV files, on Kaggle, and phantoms."""
