"""2D keypoints that people bring: files of detectors, videos, joint orders, people and tracks."""
