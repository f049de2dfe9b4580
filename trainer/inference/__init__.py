"""A trained model on new image files, and its export."""
