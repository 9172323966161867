"""Every detector, by name."""

from collections.abc import Callable

from common.keypoints.detectors.base import Detector
from common.keypoints.detectors.mediapipe import MediaPipeDetector

DETECTORS: dict[str, Callable[[], Detector]] = {"mediapipe": MediaPipeDetector}
