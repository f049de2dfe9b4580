"""Trains networks with tf.distribute on the datasets of `beam_prep`, evaluates them and applies them to new images.

Part of cxrflow.
"""
