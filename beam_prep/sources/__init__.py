"""Where images come from: folders, CSV files, buckets, Kaggle, phantoms."""
