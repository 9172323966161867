"""Find joints in a video: `python -m common.detect VIDEO --output keypoints.npz`.

For a detector in an environment of its own: the file that it writes is an input of
`python -m common.predict` in any other, `--video VIDEO` beside it to draw on the frames.
"""

from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

from pathlib import Path
from typing import Any

import numpy as np

from common.cli.entry import run_script
from common.cli.parser import Parser
from common.errors import UserError
from common.files import whole_file
from common.keypoints.detectors.registry import DETECTORS
from common.keypoints.formats.video import detect
from common.keypoints.table import PoseTable
from common.log import LOG
from common.outputs import check_output


def main() -> None:
    """Detect, and write one array of the joints of whoever is there."""
    parser = Parser(prog="python -m common.detect", description=__doc__)
    parser.add_argument("video", type=Path, help="mp4, mov, avi, webm: what ffmpeg reads")
    parser.add_argument("--output", type=Path, required=True, help="an .npz file to write")
    parser.add_argument("--detector", choices=tuple(DETECTORS), default="mediapipe")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    args = parser.parse_args()
    if args.output.suffix != ".npz":
        raise UserError(f"--output {args.output}: a name that ends in .npz is needed")
    check_output(
        args.output, inputs=[args.video], force=args.force, keep_ours=True, flag="--output"
    )
    write(args.output, detect(args.video, args.detector))


def write(path: Path, table: PoseTable) -> None:
    """Write the poses of the one person that each frame holds, as an array that inputs may be.

    Raises:
        UserError: several people are in a frame, or the file cannot be written.
    """
    if len(set(table.frame)) != len(table.frame):
        raise UserError("several people in a frame; an array of keypoints holds one person")
    keypoints = np.full((len(table.frames), *table.keypoints.shape[1:]), np.nan, np.float32)
    confidence = np.zeros(keypoints.shape[:2], np.float32)
    rows = table.frame - table.frames.start
    keypoints[rows], confidence[rows] = table.keypoints, table.confidence
    content: dict[str, Any] = {"keypoints": keypoints, "confidence": confidence}
    content |= {"layout": table.layout, "size": table.size, "time": table.time}
    with whole_file(path) as stream:
        np.savez_compressed(stream, **content)
    LOG.info("wrote %s: %d frames, joints in the order %r", path, len(keypoints), table.layout)


if __name__ == "__main__":
    run_script(main)
