"""Measure lifting outside training: frames per second, ONNX beside PyTorch, error against lag.

    python tests/benchmark_inference.py speed [--threads 2]
    python tests/benchmark_inference.py lag [--model weights.pth] [--frames 300]

`speed` takes a lifter of 27 frames, width 256 and 3 layers with random weights. `lag` streams
sequences of the sample's test subjects frame by frame and compares with their true poses; the time
is the processor's, from a frame's arrival to a pose.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.data import h36m  # noqa: E402  (the path is set just above)
from common.data.base import DataOptions  # noqa: E402
from common.data.camera import denormalise_screen  # noqa: E402
from common.inference import StreamingLifter, load_model  # noqa: E402
from common.inference.export import export_model  # noqa: E402
from common.inference.lifting import Clip, lift_clip  # noqa: E402
from common.inference.models import DEFAULT_MODEL, LiftingModel  # noqa: E402
from common.training.checkpoint import released_format, save_torch  # noqa: E402
from model.build import ModelSize, build_lifter  # noqa: E402

SIZE, FPS = (1000, 1000), 50.0
SPEED_FRAMES, ROUNDS = 600, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=("speed", "lag"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--frames", type=int, default=300, help="of each sequence")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.what == "speed":
        speed()
    else:
        lag(load_model(args.model, device="cpu"), args.frames)


def speed() -> None:
    """Frames per second of PyTorch and of ONNX, in turn, with and without the flip."""
    with tempfile.TemporaryDirectory() as folder:
        weights, onnx = Path(folder) / "x.pth", Path(folder) / "x.onnx"
        lifter = build_lifter("mpm", ModelSize(27, 17, 3, 256, 512))
        record = {"model": "lifter", "frame_step": 2, "frame_rate": FPS}
        save_torch(weights, released_format(lifter, record))
        export_model(weights, onnx)
        print(f"{torch.get_num_threads()} threads; frames/s of wall time, of processor time")
        for flip in (True, False):
            models = {
                "PyTorch": load_model(weights, device="cpu", flip=flip),
                "ONNX": load_model(onnx=onnx, flip=flip),
            }
            for name, rates in _rates(models).items():
                wall, processor = (median(column) for column in zip(*rates, strict=True))
                print(f"{name:8} flip {flip!s:5} {wall:8.0f} {processor:8.0f}")


def _rates(models: dict[str, LiftingModel]) -> dict[str, list[tuple[float, float]]]:
    clip = Clip(torch.randn(SPEED_FRAMES, 17, 2), None, np.arange(SPEED_FRAMES) / FPS)
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, model in models.items():
            wall, processor = time.perf_counter(), time.process_time()
            lift_clip(model, clip)
            spent = time.perf_counter() - wall, time.process_time() - processor
            rates[name].append((SPEED_FRAMES / spent[0], SPEED_FRAMES / spent[1]))
    return rates


def lag(model: LiftingModel, frames: int) -> None:
    """Protocol 1 and latency of a stream for several lags."""
    store = h36m.load(DataOptions(ROOT / "dataset" / "sample", 17, False, True)).test
    clips = []
    for part in store.sequence_slices():
        kept = slice(part.start, min(part.stop, part.start + frames))
        pixels = denormalise_screen(store.pose_2d[kept], width=SIZE[0], height=SIZE[1])
        clips.append((pixels, store.pose_3d[kept]))
    centre = round(float(model.info.seconds[-1]) * FPS)
    print(f"{model.info.path.name}, {sum(len(pixels) for pixels, _ in clips)} frames")
    print("lag frames   p1 mm   ms per frame")
    for frames_back in sorted({0, 5, 13, centre}):
        errors, spent = [], []
        for pixels, true in clips:
            stream = StreamingLifter(model, lag=frames_back, size=SIZE, fps=FPS)
            poses = []
            for frame in pixels.numpy():
                begin = time.process_time()
                pose = stream.push(frame)
                if pose is not None:
                    spent.append(time.process_time() - begin)
                    poses.append(pose)
            poses += stream.finish()
            found = np.stack([pose.pose_3d for pose in poses])
            errors.append(np.linalg.norm(found - true.numpy(), axis=-1).mean(1))
        error = 1000 * np.concatenate(errors).mean()
        note = " (half a window)" if frames_back == centre else ""
        print(f"{frames_back:10d} {error:7.2f} {1000 * median(spent):14.2f}{note}")


if __name__ == "__main__":
    main()
