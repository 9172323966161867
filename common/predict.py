"""From a video, or the keypoints of any detector, to 3D: `python -m common.predict INPUT`."""

from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from common.cli.entry import run_script
from common.cli.predict_flags import CameraChoice, PredictConfig, predict
from common.errors import UserError, listing
from common.evaluation.tables import Row, Table
from common.inference.calibration import (
    assumed_camera,
    camera_of_focal,
    camera_of_fov,
    read_camera,
)
from common.inference.completion import complete_file, load_completion
from common.inference.model_info import ModelInfo
from common.inference.models import load_model
from common.inference.motion import Motion, PinholeCamera, State
from common.inference.people import Report, lift_recording
from common.keypoints.people import choose
from common.keypoints.reading import read_recording
from common.keypoints.recording import Recording
from common.log import LOG
from common.motion_files.registry import WRITERS
from common.motion_files.writer import WriteOptions
from common.outputs import check_output
from common.progress import counted


def main() -> None:
    """Read, lift, write, and say what was assumed and what came out."""
    config = predict()
    _check_output(config)
    motions, report, recording = _complete(config) if config.complete else _lift(config)
    begin = perf_counter()
    options = WriteOptions(video=None if recording is None else recording.video)
    written = [
        path
        for name in config.formats
        for path in WRITERS[name].write(motions, config.output, options=options)
    ]
    report.add("writing", begin)
    _tell_leftovers(config, written)
    for line in (*_summary(motions).lines(), _speed(report, len(motions[0].time))):
        LOG.info(line)
    for path in written:
        LOG.info("%s", path)


def _check_output(config: PredictConfig) -> None:
    """Require, before anything is computed, that nothing is overwritten unasked."""
    if config.output.exists() and not config.output.is_dir():
        raise UserError(f"--output {config.output} is a file, a folder is needed")
    if not config.output.is_dir():
        return
    camera, model = config.camera, config.model
    inputs = [config.source, config.read.video, model.weights, model.onnx, camera.calibration]
    writers = [WRITERS[name] for name in config.formats]
    there = [path for writer in writers for path in writer.existing(config.output)]
    for path in [path for writer in writers for path in writer.paths(1, config.output)] + there:
        check_output(path, inputs=inputs, force=True, flag="--output")
    if there and not config.force:
        raise UserError(
            f"{listing(list(map(str, there)))} exists; --force replaces it, or choose another "
            "--output"
        )


def _tell_leftovers(config: PredictConfig, written: Sequence[Path]) -> None:
    """Name files of people that an earlier run found and this one did not."""
    there = [path for name in config.formats for path in WRITERS[name].existing(config.output)]
    left = [str(path) for path in there if path not in written]
    if left:
        LOG.warning("warning: %s are of an earlier run, which found other people", listing(left))


def _lift(config: PredictConfig) -> tuple[list[Motion], Report, Recording]:
    chosen = config.model
    model = load_model(
        chosen.weights, onnx=chosen.onnx, device=chosen.device, flip=chosen.flip, rate=chosen.rate
    )
    _tell_assumptions(model.info)
    begin = perf_counter()
    recording = choose(read_recording(config.source, config.read), config.person)
    reading = perf_counter()
    camera = _camera(config.camera, recording)
    total = len(recording.people) * len(recording.time)
    with counted(" frames", total=total, title="lifting") as done:
        motions, report = lift_recording(
            recording,
            camera,
            model,
            config.lift,
            record=_record(model.info, config.command),
            progress=done,
        )
    report.seconds = {"reading": reading - begin, **report.seconds}
    LOG.info("world: %s", report.world)
    if report.recoverable:
        LOG.info(
            "note: %d frames lack joints for longer than --max_gap and get no pose; --occluded "
            "recovers joints that are not seen",
            report.recoverable,
        )
    if config.lift.smooth:
        LOG.info("--smooth %s: jitter %.2f -> %.2f m/s^2", config.lift.smooth, *report.jitter)
    return motions, report, recording


def _complete(config: PredictConfig) -> tuple[list[Motion], Report, None]:
    chosen = config.model
    assert chosen.weights is not None
    model = load_completion(
        chosen.weights, device=chosen.device, flip=chosen.flip, rate=chosen.rate
    )
    _tell_assumptions(model.info)
    report = Report()
    begin = perf_counter()
    motion = complete_file(
        config.source,
        model,
        fps=config.read.fps,
        max_gap=config.lift.max_gap,
        record=_record(model.info, config.command),
    )
    report.add("completing", begin)
    return [motion], report, None


def _tell_assumptions(info: ModelInfo) -> None:
    for assumption in info.assumed:
        LOG.info("note: %s does not tell, so assumed: %s (--model_rate)", info.path, assumption)


def _camera(choice: CameraChoice, recording: Recording) -> PinholeCamera:
    """The camera of a recording, as told or assumed."""
    size = recording.size
    if size is None:
        raise UserError(f"{recording.source}: the image size is not known: --size WxH is needed")
    if choice.calibration is not None:
        return read_camera(choice.calibration, size, choice.name)
    if choice.focal is not None:
        return camera_of_focal(size, choice.focal)
    if choice.fov is not None:
        return camera_of_fov(size, choice.fov)
    camera = assumed_camera(size)
    LOG.info(
        "note: no --focal, --fov or --calibration, so a focal length of %.0f pixels is assumed; "
        "it scales how far away people are",
        camera.focal[0],
    )
    return camera


def _record(info: ModelInfo, command: str) -> dict[str, str]:
    versions = {"Python": platform.python_version(), "NumPy": np.__version__}
    versions["PyTorch"] = torch.__version__
    return {
        "model": str(info.path),
        "command": command,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def _summary(motions: Sequence[Motion]) -> Table:
    """A row for each person: frames with a pose, and where their joints come from."""
    columns = {"frames": "frames", "posed": "with pose"}
    columns |= {state.name: f"{state.name.lower()} %" for state in reversed(State)}
    return Table("Person", columns, [Row(m.name, _shares(m)) for m in motions], width=14)


def _shares(motion: Motion) -> Mapping[str, float]:
    posed = int((motion.state != State.EMPTY).all(1).sum())
    shares = {state.name: 100 * float((motion.state == state).mean()) for state in State}
    return {"frames": len(motion.time), "posed": posed, **shares}


def _speed(report: Report, frames: int) -> str:
    stages = ", ".join(
        f"{name} {seconds:.2f} s ({frames / max(seconds, 1e-9):.0f} frames/s)"
        for name, seconds in report.seconds.items()
    )
    return f"{frames} frames: {stages}"


if __name__ == "__main__":
    run_script(main)
