"""Lifting what is not a data set: keypoints of any recording to 3D motion."""

from common.inference.arrays import lift_keypoints
from common.inference.models import load_model
from common.inference.people import LiftOptions
from common.inference.streaming import StreamingLifter

__all__ = ["LiftOptions", "StreamingLifter", "lift_keypoints", "load_model"]
