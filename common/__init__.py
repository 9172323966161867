"""Data, metrics, training and reporting shared by the entry scripts."""
