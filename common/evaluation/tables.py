"""How results are shown: the tables that a run prints, files of predictions."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data.pose_store import PoseStore
from common.data.skeleton import SKELETONS
from common.files import write_atomically
from common.tasks.lifting import Benchmark, ErrorRow, ErrorTable, LiftingScores
from common.tasks.masked import MaskedErrors

# Title, and the last line that scripts in the field parse (SPEC section 7).
TITLES = {
    "protocol_1": "p1 mm",
    "protocol_2": "p2 mm",
    "velocity": "MPJVE",
    "pck": "PCK %",
    "auc": "AUC %",
    "frames": "frames",
}
LAST_LINES = {
    "Action": "p1: {protocol_1:.2f}, p2: {protocol_2:.2f}",
    "Sequence": "p1: {protocol_1:.2f}, pck: {pck:.2f} auc: {auc:.2f} %",
}


def last_line(benchmark: Benchmark, errors: Mapping[str, float]) -> str:
    """The last line of an evaluation, which scripts parse, given the errors of `ErrorRow`."""
    return LAST_LINES[benchmark.title].format(**errors)


def table_lines(
    corner: str,
    titles: Sequence[str],
    rows: Sequence[tuple[str, Sequence[float]]],
    *,
    width: int = 8,
) -> list[str]:
    """A table of numbers.

    Args:
        corner: what the rows are.
        titles: of the columns.
        rows: names and numbers; whole ones are shown as such.
        width: of a column.

    Returns:
        A line with the titles, a line a row.
    """
    names = max(len(name) for name, _ in rows)

    def shown(number: float) -> str:
        return f"{number:{width}d}" if isinstance(number, int) else f"{number:{width}.2f}"

    lines = [(corner, [title.rjust(width) for title in titles])]
    lines += [(name, [shown(number) for number in numbers]) for name, numbers in rows]
    return [" ".join([name.ljust(names), *cells]) for name, cells in lines]


def lifting_lines(table: ErrorTable) -> list[str]:
    """The table of an evaluation, and the last line that scripts parse."""
    benchmark = table.benchmark
    shown = (*benchmark.errors, "frames")
    lines = table_lines(
        benchmark.title,
        [TITLES[name] for name in shown],
        [
            (row.name, [getattr(row, name) for name in shown])
            for row in (*table.rows, table.average, table.frame_average)
        ],
    )
    unknown = [row.name for row in table.rows if math.isnan(row.protocol_1)]
    if unknown:
        lines.append(f"no true 3D poses of {', '.join(unknown)}: predictions, but no errors")
    return [*lines, last_line(benchmark, vars(table.result))]


def lifting_results(table: ErrorTable) -> dict[str, Any]:
    """The same numbers for results.json."""

    def numbers(row: ErrorRow) -> dict[str, Any]:
        shown = (*table.benchmark.errors, "frames")
        return {name: getattr(row, name) for name in shown}

    return {
        "unit": "mm; velocity: mm a frame; pck, auc: %",
        f"{table.benchmark.title.lower()}s": {row.name: numbers(row) for row in table.rows},
        "average": numbers(table.average),
        "average_over_frames": numbers(table.frame_average),
    }


def masked_lines(rows: Sequence[tuple[str, MaskedErrors]]) -> list[str]:
    """The table of an evaluation of a masked model, and the last line that scripts parse.

    Args:
        rows: what was hidden -> errors; the last row is the published mixture.
    """
    titles = ("2D", "hidden", "3D", "hidden", "lifted", "hidden")
    numbers = [(name, list(vars(errors).values())) for name, errors in rows]
    lines = table_lines("Hidden", titles, numbers, width=9)
    mixture = rows[-1][1]
    return [
        *lines,
        f"maep1: {mixture.recovered_2d:.2f}, mae3p1: {mixture.recovered_3d:.2f}, "
        f"liftp1: {mixture.lifted:.2f}",
    ]


def save_predictions(path: str, scores: LiftingScores, store: PoseStore) -> None:
    """Write 3D poses, their targets and where each comes from, as plain arrays.

    Args:
        path: an .npz file; it is replaced if it exists.
        scores: predicted and true poses.
        store: names their sequences.

    Raises:
        UserError: the file cannot be written.
    """
    names = [store.names[number] for number in store.sequences_of(scores.frames).tolist()]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        predicted_3d=1000 * scores.predicted.numpy(),
        target_3d=1000 * scores.target.numpy(),
        subject=np.array([name.subject for name in names]),
        action=np.array([name.action for name in names]),
        camera=np.array([name.camera for name in names]),
        frame=store.frames_in_file(scores.frames).numpy(),
        joint_names=np.array(SKELETONS[store.num_joints].joint_names),
        unit=np.array("mm, camera space, relative to joint 0"),
    )
    write_atomically(Path(path), buffer.getvalue())
