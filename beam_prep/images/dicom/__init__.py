"""Decodes DICOM files to grey images."""
