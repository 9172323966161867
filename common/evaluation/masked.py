"""Tests of a masked model: errors of what it recovers, over everything and over what was hidden."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.data.pose_ops import joint_errors, with_zero_root
from common.data.windowed_poses import Chosen, WindowedPoses
from common.errors import FailedRun, listing
from common.evaluation.passes import compute_for_all
from common.evaluation.tables import Row, Table
from common.tasks.losses import MASKED_WEIGHTS
from common.tasks.masked import Batch, MaskedModel, Recovered, StepMasks, make_batch
from common.tasks.masking import DrawnBySample, Masking, limb_set_name
from common.training.steps import TestErrors

# Column -> title; each x 1000, that is mm in 3D. "Hidden" columns are over what was hidden only.
COLUMNS = {
    "recovered_2d": "2D",
    "recovered_2d_hidden": "hidden",
    "recovered_3d": "3D",
    "recovered_3d_hidden": "hidden",
    "lifted": "lifted",
    "lifted_hidden": "hidden",
}
# Pre-training hides the same joints and frames in all windows of a pass: in the test, in this many
# consecutive ones, whatever passes and processes they are in.
WINDOWS_PER_MASK = 256
ERRORS = ("recovered_2d", "recovered_3d", "lifted")
LAST_LINE = "maep1: {recovered_2d:.2f}, mae3p1: {recovered_3d:.2f}, liftp1: {lifted:.2f}"


@dataclass(frozen=True)
class Examples:
    """Target frames of some windows, for pictures, on CPU.

    Attributes:
        names: K sequences.
        true_3d: (K, J, 3) root-relative metres.
        result_3d: (K, J, 3) recovered or lifted.
        hidden: (K, J) bool.
    """

    names: list[str]
    true_3d: Tensor
    result_3d: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class MaskedTest:
    """How a masked model is tested: every test frame is the target of a window.

    Attributes:
        poses: test windows, on the runtime's device.
        masks: what is hidden.
        batch_size: windows per pass.
        flip: average with the results of the mirrored input.
        mirror_masks: see `MaskedModel.with_flip`.
        seed: of the masks, the same at every evaluation.
    """

    poses: WindowedPoses
    masks: Masking
    batch_size: int
    flip: bool
    mirror_masks: bool
    seed: int

    def errors(
        self,
        model: MaskedModel,
        numbers: Sequence[int | str] | None = None,
        *,
        part: int | None = None,
    ) -> dict[str, float]:
        """Evaluate.

        Args:
            model: the model.
            numbers: limb sets to draw from; None for those of the masks.
            part: only the windows of this store; None for all.

        Returns:
            Column -> mean error x 1000; NaN for what the task does not compute.

        Raises:
            FailedRun: what the model makes of some windows is not finite.
        """
        tested = self._tested(part)
        per_window = self.per_window(model, numbers, part=part)
        invalid = ~per_window.isfinite().all(-1).all(-1).cpu()
        if invalid.any():
            sequences = self.poses.sequences_of(tested[invalid])
            raise FailedRun(
                f"results of {int(invalid.sum())} of {len(tested)} windows are not finite, in "
                f"{len(sequences)} sequences: {listing(sequences)}"
            )
        total, count = per_window.sum(0).unbind(-1)  # 0 / 0 is NaN: not computed
        return dict(zip(COLUMNS, (1000 * total / count).tolist(), strict=True))

    def _tested(self, part: int | None) -> Tensor:
        """(M,) int64 on CPU, the windows of one store, or all."""
        tested = range(len(self.poses)) if part is None else self.poses.samples_of(part)
        return torch.arange(tested.start, tested.stop)

    def per_window(
        self,
        model: MaskedModel,
        numbers: Sequence[int | str] | None = None,
        *,
        part: int | None = None,
    ) -> Tensor:
        """Sums of errors and their numbers, of each window: (M, 6, 2), see `errors`."""
        runtime = model.runtime
        samples = self._tested(part)

        def sums(chosen: Tensor) -> Tensor:
            """Of some windows: (B, 6, 2)."""
            windows = self.poses.windows(chosen)
            batch = self._batch(windows, chosen, numbers)
            return self._sums(batch, self.recover(model, batch), windows)

        shape = len(samples), len(COLUMNS), 2
        return compute_for_all(
            samples,
            torch.zeros(shape, dtype=torch.float64, device=runtime.device),
            sums,
            runtime=runtime,
            modules=model.modules.values(),
            per_pass=runtime.windows_per_pass(self.batch_size, self.poses.frames),
            ends=WINDOWS_PER_MASK if self.masks.hides_frames else None,
        )

    def _batch(
        self, windows: Chosen, samples: Tensor, numbers: Sequence[int | str] | None = None
    ) -> Batch:
        """The windows of some samples (B,), masked as the seed and their numbers decide."""
        shared = draw = None
        if self.masks.hides_frames:
            number = int(samples[0]) // WINDOWS_PER_MASK
            rng = torch.Generator().manual_seed((self.seed * 1_000_003 + number) % 2**63)
            shared = StepMasks.draw(self.masks, self.poses, rng, self.poses.device)
        else:
            in_order = samples[windows.order].to(self.poses.device, non_blocking=True)
            draw = DrawnBySample(self.seed, in_order)
        return make_batch(
            self.masks,
            windows,
            windows,
            self.poses.skeleton,
            shared=shared,
            numbers=numbers,
            draw=draw,
        )

    def _sums(self, batch: Batch, results: Recovered, windows: Chosen) -> Tensor:
        compared = (
            (results.recovered_2d, batch.pose_2d, batch.hidden(2)),
            (results.recovered_3d, batch.pose_3d, batch.hidden(3)),
            (results.lifted, windows.window_3d() if self.masks.lifts else None, batch.hidden(2)),
        )
        columns = []
        for result, target, hidden in compared:
            if result is None or target is None or hidden is None:
                columns += [torch.zeros(len(windows), 2, device=self.poses.device)] * 2
                continue
            errors = joint_errors(result, target).double().flatten(1)  # (B, T * J)
            mask = hidden.flatten(1)
            columns += [
                torch.stack([errors.sum(1), mask.new_ones(mask.shape).sum(1)], dim=-1),
                torch.stack([(errors * mask).sum(1), mask.sum(1)], dim=-1),
            ]
        return torch.stack([column.double() for column in columns], dim=1)

    def recover(self, model: MaskedModel, batch: Batch) -> Recovered:
        """What the model makes of a batch, as it is reported."""
        lift = self.masks.lifts
        with model.runtime.autocast():
            if self.flip:
                results = model.with_flip(
                    batch, self.poses.skeleton, lift=lift, mirror_masks=self.mirror_masks
                )
            else:
                results = model(batch, lift=lift)
        recovered_2d, lifted, recovered_3d = (
            r if r is None else r.float() for r in vars(results).values()
        )
        if lifted is not None:
            lifted = with_zero_root(lifted)
        if recovered_3d is not None and self.masks.task == "comp3d":  # visible joints stay
            assert batch.mask_3d is not None and batch.pose_3d is not None
            recovered_3d = torch.where(batch.mask_3d.unsqueeze(-1), recovered_3d, batch.pose_3d)
        return Recovered(recovered_2d, lifted, recovered_3d)

    def examples(self, model: MaskedModel, count: int) -> Examples:
        """Target frames of some windows, taken evenly from the test."""
        samples = (torch.arange(count) * 2 + 1) * len(self.poses) // (2 * count)
        windows = self.poses.windows(samples)
        with torch.inference_mode():
            batch = self._batch(windows, samples)
            results = self.recover(model, batch)
        hidden = batch.hidden(3 if results.lifted is None else 2)
        poses = results.recovered_3d if results.lifted is None else results.lifted
        assert hidden is not None and poses is not None
        at = self.poses.target
        names = [name for sample in samples for name in self.poses.sequences_of(sample[None])]
        true_3d = windows.window_3d()[:, at]
        return Examples(names, true_3d.cpu(), poses[:, at].cpu(), hidden[:, at].cpu())

    def test_errors(self, model: MaskedModel) -> TestErrors:
        """The errors to log after an epoch; the monitored metric weights them as the loss does."""
        errors = {
            name: value for name, value in self.errors(model).items() if not math.isnan(value)
        }
        weights = MASKED_WEIGHTS[self.masks.task]
        computed = [name for name in ERRORS if name in weights and name in errors]
        monitored = sum(weights[name] * errors[name] for name in computed)
        return TestErrors(float(monitored), errors)

    def table(self, model: MaskedModel, stores: Sequence[str]) -> "MaskedTable":
        """A row for each limb set or, pre-training on several, store; then all of them.

        Args:
            model: the model.
            stores: names of the stores of the windows.
        """
        if self.masks.hides_frames:
            parts = enumerate(stores if len(stores) > 1 else ())
            rows = [Row(name, self.errors(model, part=part)) for part, name in parts]
            return MaskedTable([*rows, Row("joints and frames", self.errors(model))])
        numbers, dimensions = (
            (self.masks.numbers_2d, 2) if self.masks.uses_2d else (self.masks.numbers_3d, 3)
        )
        skeleton = self.poses.skeleton
        rows = [
            Row(
                f"{number}: {limb_set_name(number, dimensions, skeleton)}",
                self.errors(model, [number]),
            )
            for number in (numbers if self.masks.task != "onlylift" else ())
        ]
        # Of one limb set the mixture is that set.
        mixture = rows[0].values if len(rows) == 1 else self.errors(model)
        return MaskedTable([*rows, Row("mixture", mixture)])


@dataclass(frozen=True)
class MaskedTable:
    """Errors by what was hidden; the last row is the published mixture."""

    rows: list[Row]

    def lines(self) -> list[str]:
        """The table, and the last line that scripts parse: 0 for what is not computed."""
        table = Table("Hidden", COLUMNS, self.rows, width=9)
        values = self.rows[-1].values
        last = {name: 0.0 if math.isnan(v) else v for name, v in values.items()}
        return [*table.lines(), LAST_LINE.format(**last)]

    def results(self) -> dict[str, Mapping[str, float]]:
        """The same numbers for results.json."""
        return {row.name: row.values for row in self.rows}
