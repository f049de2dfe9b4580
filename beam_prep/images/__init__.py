"""Does the work on one image: decoding, equalization, resizing and measuring."""
