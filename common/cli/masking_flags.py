"""The published flags of masked modelling: what is hidden, and PoseAug."""

import argparse

from common.cli.values import at_least, finite, integer, share_below_one
from common.tasks.masking import WORDS


def add_masking_flags(group: argparse._ArgumentGroup) -> None:
    """Add the flags to a group of a parser."""
    group.add_argument("--MAE", action="store_true", help="masked modelling (unpaired 2D and 3D)")
    group.add_argument(
        "-tmr",
        "--temporal_mask_rate",
        type=share_below_one,
        default=0.8,
        help="fraction of hidden frames",
    )
    group.add_argument(
        "-smn",
        "--spatial_mask_num",
        type=at_least(0),
        default=2,
        help="number of hidden joints per frame",
    )
    group.add_argument("--comp3d", type=integer, default=0, help="1: complete 3D poses (3D -> 3D)")
    group.add_argument(
        "--comp2dlift", type=integer, default=0, help="1: lift incomplete 2D poses (2D -> 3D)"
    )
    group.add_argument(
        "--onlylift", type=integer, default=0, help="1: recover 2D and 3D and lift, limbs hidden"
    )
    group.add_argument(
        "--mask_manner3D",
        default="0,1,2,3,6",
        help="limb sets hidden in 3D: 0-3 arms and legs, m >= 4 for m - 3 random joints, or one "
        f"of {', '.join(map(str, WORDS))}",
    )
    group.add_argument(
        "--mask_manner2D", default="0,1,2,3,9", help="limb sets hidden in 2D, as --mask_manner3D"
    )
    group.add_argument(
        "--poseaug",
        type=integer,
        default=0,
        help="1: augment by PoseAug generators (on by itself for --MAE, h36m, 16 joints)",
    )
    group.add_argument(
        "--blr_tanhlimit",
        type=finite,
        default=0.15,
        help="maximum relative change of bone lengths by PoseAug",
    )
