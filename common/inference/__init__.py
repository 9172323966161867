"""Lifting what is not a data set: keypoints of any recording to 3D motion."""
