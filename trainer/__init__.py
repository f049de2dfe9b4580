"""TFRecords and a manifest in, a trained and evaluated model out (tf.distribute)."""
