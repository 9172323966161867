"""File formats that keypoints come in; another one is a file here and a line in `registry`."""
