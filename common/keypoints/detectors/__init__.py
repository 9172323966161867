"""Detectors that find joints in pictures; another one is a file here and a line in `registry`."""
