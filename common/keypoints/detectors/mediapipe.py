"""MediaPipe's BlazePose: one person, 33 joints; its model comes with the package."""

import os
from types import TracebackType
from typing import Any, Self

import numpy as np

from common.errors import UserError
from common.optional import optional

MODEL_COMPLEXITY = 1  # 0, 1 or 2; the package holds the model of 1
NEEDED_BY = "finding joints in a video"


class MediaPipeDetector:
    """See `common.keypoints.detectors.base.Detector`."""

    layout = "mediapipe"
    tracks = True

    def __init__(self) -> None:
        """Import the library.

        Raises:
            UserError: it is not installed, or does not work here.
        """
        os.environ.setdefault("GLOG_minloglevel", "2")  # its own notes on every start
        try:
            self._solutions = optional("mediapipe", needed_by=NEEDED_BY).solutions
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"{NEEDED_BY}: mediapipe is installed and does not work here ({error}); "
                "common/requirements-video.txt says what was tested"
            ) from None
        self._pose: Any = None

    def detect(self, frame: np.ndarray) -> np.ndarray:
        """Find the person: (1, 33, 3), or (0, 33, 3) if nobody is seen."""
        landmarks = self._pose.process(frame).pose_landmarks
        if landmarks is None:
            return np.empty((0, 33, 3), np.float32)
        height, width = frame.shape[:2]
        rows = [[p.x * width, p.y * height, p.visibility] for p in landmarks.landmark]
        return np.array([rows], np.float32)

    def __enter__(self) -> Self:
        """Load the model."""
        self._pose = self._solutions.pose.Pose(model_complexity=MODEL_COMPLEXITY)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the model."""
        self._pose.close()
