"""Finds the splits of a dataset, checks them, and reads their images with `tf.data`."""
