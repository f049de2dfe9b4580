"""DICOM files to grey images."""
