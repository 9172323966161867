"""Keypoints with the errors of a detector, made of exact ones.

What a detector of 2D keypoints does to them: it means other points by "nose" or "hip" than a
motion-capture skeleton does, its errors drift over frames, limbs are hidden, left and right change
places now and then, and joints that it lacks are derived from others. The figures are those of
MediaPipe on calibrated videos (dataset/README.md says how they were measured).
"""

from dataclasses import dataclass

import numpy as np

from common.data.skeleton import H36M_17
from dataset.motion_clips import FRAME_RATE

HIP, SPINE, THORAX, NOSE, HEAD = 0, 7, 8, 9, 10
HIPS, SHOULDERS = (1, 4), (11, 14)
LIMBS = tuple(H36M_17.limbs.values())
# Left and right joints that change places together: legs, arms, the whole body.
LEGS, ARMS = ((4, 5, 6), (1, 2, 3)), ((11, 12, 13), (14, 15, 16))
BODY = (H36M_17.left, H36M_17.right)


@dataclass(frozen=True)
class NoiseModel:
    """How large a detector's errors are; lengths are metres on the body, in each image axis.

    Attributes:
        bias: (17,) standard deviation of what stays the same through a clip.
        drift: (17,) standard deviation of what drifts.
        white: (17,) standard deviation of what is new in every frame.
        correlation: of drift, one frame apart at 50 frames/s; between two bounds, per clip.
        level: factor of all errors, between two bounds, logarithmic, per clip.
        nose_forward: how far the detector's nose lies before ours, between two bounds.
        along_trunk: standard deviation of hips, shoulders and head along the trunk, per clip.
        derived: share of the clips in which hip, spine and thorax are derived from hips and
            shoulders, as they are from the joints of most detectors.
        hidden: of a hidden joint, what its errors are multiplied by, at the root of a limb and for
            each joint further out.
        hidden_rate: episodes per second in which a limb is hidden.
        swap_rates: episodes per second in which legs, arms, the whole body change sides.
        episode: mean length of an episode, seconds.
    """

    bias: np.ndarray
    drift: np.ndarray
    white: np.ndarray
    correlation: tuple[float, float] = (0.6, 0.94)
    level: tuple[float, float] = (0.6, 1.6)
    nose_forward: tuple[float, float] = (0.0, 0.15)
    along_trunk: float = 0.025
    derived: float = 0.75
    hidden: tuple[float, float] = (1.5, 1.25)
    hidden_rate: float = 0.08
    swap_rates: tuple[float, float, float] = (0.02, 0.02, 0.06)
    episode: float = 0.4


def _by_joint(
    hip: float, knee: float, foot: float, nose: float, head: float, *arm: float
) -> np.ndarray:
    """(17,) one number for each kind of joint; the arm's are shoulder, elbow, wrist."""
    leg = (hip, knee, foot)
    return np.array([hip, *leg, *leg, hip, arm[0], nose, head, *arm, *arm])


MEDIAPIPE = NoiseModel(
    bias=_by_joint(0.011, 0.005, 0.008, 0.018, 0.020, 0.010, 0.008, 0.007),
    drift=_by_joint(0.016, 0.017, 0.019, 0.020, 0.016, 0.012, 0.018, 0.020),
    white=_by_joint(0.001, 0.002, 0.002, 0.004, 0.004, 0.004, 0.005, 0.008),
)


def shifted(world: np.ndarray, model: NoiseModel, rng: np.random.Generator) -> np.ndarray:
    """The points (L, 17, 3) that a detector means by the joints (L, 17, 3), world metres."""
    points = world.copy()
    up, forward = _trunk_axes(world)
    for joints in (HIPS, SHOULDERS, (HEAD,)):
        points[:, list(joints)] += rng.normal(0, model.along_trunk) * up[:, None]
    points[:, NOSE] += rng.uniform(*model.nose_forward) * forward
    if rng.random() < model.derived:
        points[:, HIP] = points[:, list(HIPS)].mean(1)
        points[:, THORAX] = points[:, list(SHOULDERS)].mean(1)
        points[:, SPINE] = (points[:, HIP] + points[:, THORAX]) / 2
    return points


def _trunk_axes(world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (L, 3) up the trunk, and forward, of poses (L, 17, 3)."""
    up = world[:, THORAX] - world[:, HIP]
    left = world[:, SHOULDERS[0]] - world[:, SHOULDERS[1]]
    return _unit(up), _unit(np.cross(left, up))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def detect(
    pixels: np.ndarray,
    pixels_per_metre: np.ndarray,
    size: tuple[int, int],
    rng: np.random.Generator,
    model: NoiseModel,
) -> np.ndarray:
    """Keypoints as a detector might find them.

    Args:
        pixels: (L, 17, 2), the points that it looks for.
        pixels_per_metre: (L,) at the body's depth.
        size: width and height of the image, pixels.
        rng: random generator.
        model: how large the errors are.

    Returns:
        (L, 17, 3) float32: x, y in pixels and a confidence from 0 to 1.
    """
    length = len(pixels)
    factor = np.ones((length, 17))  # how much larger than usual the errors are
    for limb in LIMBS:
        inside = _episodes(length, model.hidden_rate, rng, model)
        for number, joint in enumerate(limb):
            factor[inside, joint] = model.hidden[0] + model.hidden[1] * number
    factor[((pixels < 0) | (pixels > np.array(size))).any(-1)] = 4.0
    level = np.exp(rng.uniform(*np.log(model.level))) * factor
    bias = rng.normal(size=(17, 2)) * model.bias[:, None]
    drift = drifting(length, rng.uniform(*model.correlation), rng) * model.drift[:, None]
    white = rng.normal(size=(length, 17, 2)) * model.white[:, None]
    metres = (bias + drift + white) * level[..., None]
    found = pixels + metres * pixels_per_metre[:, None, None]
    confidence = np.clip(1.2 - 0.2 * factor + rng.normal(0, 0.02, factor.shape), 0.05, 1.0)
    found = np.concatenate([found, confidence[..., None]], axis=-1)
    for sides, rate in zip((LEGS, ARMS, BODY), model.swap_rates, strict=True):
        order = np.arange(17)
        for left, right in zip(*sides, strict=True):
            order[[left, right]] = right, left
        inside = _episodes(length, rate, rng, model)
        found[inside] = found[inside][:, order]
    return found.astype(np.float32)


def drifting(length: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """(L, 17, 2) noise of variance 1 whose values one frame apart are correlated."""
    noise = rng.normal(size=(length, 17, 2))
    fresh = np.sqrt(1 - correlation**2)
    for frame in range(1, length):
        noise[frame] = correlation * noise[frame - 1] + fresh * noise[frame]
    return noise


def _episodes(length: int, rate: float, rng: np.random.Generator, model: NoiseModel) -> np.ndarray:
    """(L,) bool, the frames inside of episodes that begin at random."""
    inside = np.zeros(length, dtype=bool)
    for start in np.flatnonzero(rng.random(length) < rate / FRAME_RATE):
        inside[start : start + 1 + int(rng.exponential(model.episode) * FRAME_RATE)] = True
    return inside
