"""The windows of one or several pose stores, numbered through; a batch is one gather."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.data.pose_store import PoseStore
from common.data.skeleton import Skeleton
from common.data.windows import WindowIndex, WindowRule, Windows


class WindowedPoses:
    """The windows of one or several stores, numbered through.

    Attributes:
        parts: each store with the index of its windows.
        frames: T, frames per window.
        target: the number of the target frame inside a window.
    """

    def __init__(self, parts: Sequence[tuple[PoseStore, WindowRule]]) -> None:
        """Index the windows of some stores.

        Args:
            parts: the stores, on one device, each with its own rule; T is the same in all.
        """
        self.parts = [
            (store, WindowIndex(store.offsets, rule, store.counted)) for store, rule in parts
        ]
        self.ends = torch.tensor([len(index) for _, index in self.parts]).cumsum(0)
        self.starts = [0, *self.ends.tolist()]
        self.frames, self.target = parts[0][1].frames, parts[0][1].target

    def __len__(self) -> int:
        return self.starts[-1]

    def samples_of(self, part: int) -> range:
        """The numbers of the windows of one store."""
        return range(self.starts[part], self.starts[part + 1])

    @property
    def skeleton(self) -> Skeleton:
        """Of all stores."""
        return self.parts[0][0].skeleton

    @property
    def device(self) -> torch.device:
        """The device of all stores."""
        return self.parts[0][0].device

    def windows(self, samples: Tensor) -> "Chosen":
        """Some windows, each on the device of its store.

        Args:
            samples: (B,) int64 on CPU, numbers below the number of windows.

        Returns:
            The windows, grouped by store; `order` is the place of each among the samples.
        """
        part_of = torch.searchsorted(self.ends, samples, right=True)
        parts, orders = [], []
        for number, ((store, index), start) in enumerate(
            zip(self.parts, self.starts[:-1], strict=True)
        ):
            places = (part_of == number).nonzero().flatten()
            if len(places):
                windows = index.windows(samples[places] - start)
                orders.append(places[windows.order])
                parts.append((store, windows.to(store.device)))
        return Chosen(parts, torch.cat(orders) if orders else samples)

    def sequences_of(self, samples: Tensor) -> list[str]:
        """The sequences that some windows (B,) are cut from, each named once."""
        return [
            str(store.names[number])
            for store, windows in self.windows(samples).parts
            for number in windows.sequences.unique().tolist()
        ]


@dataclass(frozen=True)
class Chosen:
    """A batch of windows, those of each store together.

    Attributes:
        parts: stores and the windows chosen from them.
        order: (B,) int64 on CPU, the place of each window among the samples that were asked for.
    """

    parts: list[tuple[PoseStore, Windows]]
    order: Tensor

    def __len__(self) -> int:
        return sum(len(windows) for _, windows in self.parts)

    def window_2d(self) -> Tensor:
        """(B, T, J, 2) screen coordinates."""
        return _joined([store.window_2d(windows) for store, windows in self.parts])

    def window_3d(self) -> Tensor:
        """(B, T, J, 3) metres relative to the root."""
        return _joined([store.window_3d(windows) for store, windows in self.parts])

    def absolute_3d(self) -> Tensor:
        """(B, T, J, 3) metres in camera space."""
        return _joined(
            [store.window_3d(windows) + store.window_root(windows) for store, windows in self.parts]
        )

    def cameras(self) -> Tensor:
        """(B, 9) intrinsics; every store has them."""
        return _joined([store.window_cameras(windows) for store, windows in self.parts])


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
