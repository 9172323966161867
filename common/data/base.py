"""What a data set is: one record that the scripts, the tables and the inspection read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.data.camera import CameraView
from common.data.detections import MAX_GAP
from common.data.pose_store import PoseStore, Reduction, SequenceName
from common.data.skeleton import Skeleton
from common.data.windows import WindowRule
from common.errors import UserError


@dataclass(frozen=True)
class DataOptions:
    """Which poses of a data set are wanted, and how.

    Attributes:
        root: the data folder.
        num_joints: J.
        train: whether training poses are wanted.
        test: whether test poses are wanted.
        train_subjects: None for the data set's own.
        test_subjects: None for the data set's own.
        reduction: of training sequences; test sequences are never cut by its `subset`.
        keypoints: which 2D poses, where a data set has several sets of them.
        actions: prefixes of action names; None takes all.
        pixels: leave 2D in pixels.
        normalisation: of 2D by the camera, one of `common.data.camera.NORMALISATIONS`.
        unknown_3d: accept test sequences without 3D (NaN throughout), to predict it.
        legacy_3dhp_scale: divide the normalised 2D of MPI-INF-3DHP by 1000, as published.
        max_gap: seconds; shorter gaps of a joint that was not detected are interpolated.
    """

    root: Path
    num_joints: int
    train: bool
    test: bool
    train_subjects: tuple[str, ...] | None = None
    test_subjects: tuple[str, ...] | None = None
    reduction: Reduction = field(default_factory=Reduction)
    keypoints: str = "gt"
    actions: tuple[str, ...] | None = None
    pixels: bool = False
    normalisation: str = "width"
    unknown_3d: bool = False
    legacy_3dhp_scale: bool = False
    max_gap: float = MAX_GAP


@dataclass(frozen=True)
class Stores:
    """Poses to train on and poses to test on, on CPU; None for what there is not."""

    train: PoseStore | None
    test: PoseStore | None


@dataclass(frozen=True)
class TableRule:
    """How the test errors of a data set are averaged and shown.

    Attributes:
        corner: what a row of its table is.
        row_of: the row that a sequence belongs to.
        by_frames: whether the result is the mean over all frames; else the unweighted mean of the
            rows.
        metrics: keys of `common.evaluation.metrics.METRICS`; the first decides which weights are
            best.
        last_line: the last line of an evaluation, which scripts parse, a format of these names.
    """

    corner: str
    row_of: Callable[[SequenceName], str]
    by_frames: bool
    metrics: tuple[str, ...]
    last_line: str


@dataclass(frozen=True)
class FileFormat:
    """A file of a data set, for `python -m common.inspect`.

    Attributes:
        key: the entry by which it is recognised.
        kind: what it is, in words.
        read: the dictionary under the key, the path -> its sequences, unchecked.
    """

    key: str
    kind: str
    read: Callable[[Mapping[str, Any], Path], Iterator["FileClip"]]


@dataclass(frozen=True)
class FileClip:
    """One sequence of a file as one camera or the world sees it, not yet checked.

    Attributes:
        subject: for the summary.
        name: subject, action, camera.
        pose_2d: (L, J, 2), or (L, J, 3) with a confidence, or None.
        pose_3d: (L, J, 3), or None.
        units_per_metre: of 3D.
        box: (4,) left, top, right, bottom of the image in the unit of 2D, or None if not known.
        fps: frames per second, or None.
        z_up: whether 3D is in world coordinates, z up, instead of camera space, y down.
        view: a camera that sees the poses in world coordinates, to draw them, or None.
        to_skeleton: a pose (J, C) of the file -> (J', C) in the order of the skeleton.
        skeleton: to draw it with; None for one that has as many joints, of `SKELETONS` or of a
            data set.
        missing_share: share of the 2D joints that were not detected; the inspection sets it.
    """

    subject: str
    name: str
    pose_2d: Any
    pose_3d: Any
    units_per_metre: float = 1.0
    box: tuple[float, float, float, float] | None = None
    fps: float | None = None
    z_up: bool = False
    view: CameraView | None = None
    to_skeleton: Callable[[Any], Any] = lambda pose: pose
    skeleton: Skeleton | None = None
    missing_share: float = 0.0

    @property
    def poses(self) -> dict[str, Any]:
        """What there is, by name."""
        both = {"2D": self.pose_2d, "3D": self.pose_3d}
        return {name: poses for name, poses in both.items() if poses is not None}


@dataclass(frozen=True)
class DataSet:
    """Everything that differs between data sets.

    Attributes:
        name: for `--dataset`.
        title: its name in messages.
        load: reads what the options ask for; UserError names what is missing or wrong.
        skeletons: number of joints (`--n_joints`) -> skeleton of its poses.
        table: how its test errors are averaged; None if it has no test poses.
        window_rule: the rule of its windows, made of that of the command line.
        has_subjects: whether its subjects can be chosen.
        has_actions: whether its actions can be chosen.
        has_cameras: whether its poses come with the camera's intrinsics.
        frame_rate: of its files, frames per second; None where they differ.
        joints_note: why it has no other skeletons, for a message.
        file_formats: its files, for inspection.
    """

    name: str
    title: str
    load: Callable[[DataOptions], Stores]
    skeletons: Mapping[int, Skeleton]
    table: TableRule | None
    window_rule: Callable[[WindowRule], WindowRule] = lambda rule: rule
    has_subjects: bool = False
    has_actions: bool = False
    has_cameras: bool = False
    frame_rate: float | None = None
    joints_note: str = ""
    file_formats: tuple[FileFormat, ...] = ()

    def skeleton(self, num_joints: int) -> Skeleton:
        """The skeleton of its poses with this number of joints.

        Raises:
            UserError: there is none.
        """
        if num_joints not in self.skeletons:
            known = " or ".join(map(str, self.skeletons))
            raise UserError(
                f"--n_joints {num_joints}: {self.title} has {known} joints here"
                f"{self.joints_note}; use --n_joints {known}"
            )
        return self.skeletons[num_joints]
