"""Poses: skeletons, cameras, windows, stores, and the data sets they are read from."""
