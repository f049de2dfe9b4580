"""Splits of a dataset, and their images as `tf.data`."""
