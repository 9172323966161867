"""Train PoseAug generators on Human3.6M-format data; pre-training uses what this leaves behind.

Run as `python Augpart/train_generator.py`.
"""
# ruff: noqa: E402  (the other modules are found on the path that is added first)

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from Augpart.adversarial_training import (
    AdversarialSteps,
    GeneratorTask,
    LinearSchedule,
    Ranges,
    collapses,
    single_poses,
)
from Augpart.augment import FILE_PATTERN
from Augpart.bones import NUM_JOINTS, bone_lengths, bones_of
from Augpart.draw import draw_stages
from Augpart.pose_generator import GeneratedPoses, GeneratorNoise, PoseGenerator
from common.cli.entry import run_script
from common.cli.flags import GENERATOR_FOLDER, GENERATOR_SCRIPT
from common.cli.options import recorded
from common.cli.parser import Parser
from common.cli.values import at_least, device_list, name_list, positive, seed
from common.data import h36m
from common.data.pose_store import Reduction
from common.data.skeleton import H36M_16
from common.errors import UserError
from common.log import LOG
from common.training import runtime
from common.training.checkpoint import WeightFile, load_whole, save_torch
from common.training.loop import Training
from common.training.run_folder import RESUME_FILE, RunFolder, RunInfo
from model.build import ModelSize, build_lifter

FREE_ON_RESUME = frozenset("command resume gpu deterministic lifter output vis".split())
LIFTER_SIZE = ModelSize(1, NUM_JOINTS, layers=2, width=128, hidden_width=256)  # when none is given
INITIAL_DEPTH = 5.0  # metres
DRAWN, MEASURED = 4, 4096  # poses


@dataclass(frozen=True)
class GeneratorConfig:
    """What the command line asks for.

    Attributes:
        runtime: device and seed.
        root: data folder.
        keypoints: which 2D poses go with the 3D.
        subjects: whose poses; empty for those that the data say.
        reduction: what is kept of them.
        schedule: epochs, batches and learning rate.
        warm_up: epochs before the lifter gives feedback.
        lifter: path of the lifter to start with; "" for a new one.
        ranges: of turns and lengths.
        length_limit: maximum relative change of bone lengths.
        save_every: epochs between generator files.
        save_from: first epoch that is saved.
        output: where files go.
        pictures: whether to draw.
        resume: whether to resume an interrupted training.
        info: what the files of the run record.
    """

    runtime: runtime.RuntimeOptions
    root: Path
    keypoints: str
    subjects: tuple[str, ...]
    reduction: Reduction
    schedule: LinearSchedule
    warm_up: int
    lifter: str
    ranges: Ranges
    length_limit: float
    save_every: int
    save_from: int
    output: Path
    pictures: bool
    resume: bool
    info: RunInfo


def main() -> None:
    """The run that the command line asks for."""
    config = read_config()
    run = runtime.start(config.runtime)
    if run.world_size > 1:
        raise UserError(f"{GENERATOR_SCRIPT} runs in one process, without torchrun")
    files = h36m.H36MFiles.read(config.root, config.keypoints)
    subjects = config.subjects or files.train_subjects
    store = files.store(subjects, H36M_16, config.reduction)
    poses, num_dropped = single_poses(store.to(run.device))
    refuse_foreign_files(config.output, resume=config.resume)
    folder = RunFolder(run, config.output, config.info, train=True, resume=config.resume)
    LOG.info("%d poses, %d more leave their image and are dropped", len(poses), num_dropped)
    generator = PoseGenerator(length_limit=config.length_limit)
    generator.move_away(INITIAL_DEPTH)
    steps = AdversarialSteps(
        poses,
        generator,
        feedback_lifter(config.lifter),
        config.ranges,
        config.schedule,
        random=run.new_generator(config.runtime.seed),
        warm_up=config.warm_up,
    )
    task = GeneratorTask(steps)
    last = config.schedule.epochs

    def after_epoch(epoch: int, measures: dict[str, float]) -> None:
        for collapse in collapses(measures):
            LOG.warning("collapse? epoch %d: %s", epoch, collapse)
        if epoch == last or (epoch >= config.save_from and epoch % config.save_every == 0):
            save_generator(folder.path, generator, epoch, config.info.options)

    training = Training(
        task, steps, run, config.schedule, folder, keep="never", after_epoch=after_epoch
    )
    folder.results["history"] = training.run(resume=config.resume)
    folder.results["bones"] = bones = changes_by_bone(steps)
    LOG.info("%-15s %12s %16s", "bone to", "turn degrees", "length changed %")
    for name, (turn, change) in bones.items():
        LOG.info("%-15s %12.1f %16.1f", name, turn, change)
    if config.pictures:
        draw(folder.picture_path("generator.png"), steps)
    folder.write_results()
    names = ", ".join(path.name for path in sorted(folder.path.glob(FILE_PATTERN)))
    LOG.info("generators in %s: %s", folder.path, names)


def read_config(argv: Sequence[str] | None = None) -> GeneratorConfig:
    """Read and check the command line, or words in its place."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog=GENERATOR_SCRIPT, description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--root_path", default="./dataset/", help="data folder")
    add("-k", "--keypoints", default="gt", help="2D keypoint set: NAME of data_2d_h36m_NAME.npz")
    add(
        "--subjects_train",
        type=name_list,
        default=[],
        help="comma list of subjects (default: the file's own split, else "
        f"{','.join(h36m.TRAIN_SUBJECTS)})",
    )
    add("--downsample", type=at_least(1), default=1, help="keep every n-th frame")
    add("--nepoch", type=at_least(1), default=50, help="number of epochs")
    add("-b", "--batchSize", type=at_least(2), default=1024, help="batch size in poses")
    add("--lr", type=positive, default=1e-4, help="learning rate, falls linearly to 0")
    add("--warm_up", type=at_least(0), default=2, help="epochs before the lifter gives feedback")
    add("--lifter", default="", help="one-frame 16-joint lifter to start with (default: a new one)")
    add("--ba_range_m", type=float, default=0.205, help="centre of the range of the mean turn")
    add("--ba_range_w", type=float, default=0.165, help="half-width of that range")
    add("--blr_limit", type=float, default=0.1, help="bone length change without penalty")
    add("--blr_tanhlimit", type=positive, default=0.2, help="maximum change of a bone length")
    add("--save_every", type=at_least(1), default=5, help="epochs between generator files")
    add("--save_from", type=int, help="first epoch that is saved (default: half of --nepoch)")
    add("--output", type=Path, default=GENERATOR_FOLDER, help="output folder")
    add("--gpu", type=device_list, default=[0], help="GPU index")
    add("--deterministic", type=int, choices=(0, 1), help="1: repeat bit for bit (default: on CPU)")
    add("--manualSeed", type=seed, default=1, help="seed of every random number generator")
    add("--vis", type=int, default=0, help="1: draw what the generator does")
    add("-r", "--resume", action="store_true", help="resume an interrupted run, bit for bit on CPU")
    args = parser.parse_args(words)
    if args.save_from is None:
        args.save_from = (args.nepoch + 1) // 2
    args.command = shlex.join(["python", GENERATOR_SCRIPT, *words])
    return GeneratorConfig(
        runtime=runtime.RuntimeOptions(
            args.gpu,
            args.manualSeed,
            deterministic=None if args.deterministic is None else bool(args.deterministic),
        ),
        root=Path(args.root_path),
        keypoints=args.keypoints,
        subjects=tuple(args.subjects_train),
        reduction=Reduction(downsample=args.downsample),
        schedule=LinearSchedule(
            epochs=args.nepoch,
            batch_size=args.batchSize,
            micro_batch=0,
            learning_rate=args.lr,
            decay=1,
            large_decay=1,
            large_decay_epoch=1,
            seed=args.manualSeed,
        ),
        warm_up=args.warm_up,
        lifter=args.lifter,
        ranges=Ranges(args.ba_range_m, args.ba_range_w, args.blr_limit),
        length_limit=args.blr_tanhlimit,
        save_every=args.save_every,
        save_from=args.save_from,
        output=args.output,
        pictures=bool(args.vis),
        resume=args.resume,
        info=RunInfo(
            command=args.command,
            seed=args.manualSeed,
            options=recorded(args),
            free_on_resume=FREE_ON_RESUME,
        ),
    )


def refuse_foreign_files(folder: Path, *, resume: bool) -> None:
    """Do not mix generators that something else put into the folder with those of this run."""
    present = sorted(folder.glob(FILE_PATTERN))
    if present and not resume and not (folder / RESUME_FILE).exists():
        raise UserError(
            f"{folder} holds generators that no run here made ({present[0].name}): move them, or "
            "give another --output"
        )


def feedback_lifter(path: str) -> nn.Module:
    """A one-frame lifter, new or from a file of any size."""
    if not path:
        return build_lifter("mpm", LIFTER_SIZE, trains_sequence=False)
    file = WeightFile.load(path)
    held = file.flags()
    if held.get("frames") != 1 or held.get("n_joints") != NUM_JOINTS:
        raise UserError(f"--lifter {path}: not a lifter of 1 frame and 16 joints ({held})")
    size = ModelSize(1, NUM_JOINTS, held["layers"], held["channel"], held["d_hid"])
    lifter = build_lifter("mpm", size, trains_sequence=False)
    load_whole(lifter, file)
    return lifter


def save_generator(
    folder: Path, generator: PoseGenerator, epoch: int, options: Mapping[str, Any]
) -> None:
    """Write a generator under the name that published ones have, with the options of its run."""
    state = {name: tensor.cpu() for name, tensor in generator.state_dict().items()}
    content = {"model_G": state, "options": dict(options)}
    save_torch(folder / f"ckpt_generater{epoch}.pth.tar", content)


def sample(steps: AdversarialSteps, count: int) -> tuple[Tensor, Tensor, GeneratedPoses]:
    """Some training poses, evenly taken, their cameras, and what the generator makes of them."""
    poses = steps.poses
    chosen = (torch.arange(count, device=poses.pose_3d.device) * 2 + 1) * len(poses) // (2 * count)
    pose_3d, camera = poses.pose_3d[chosen].unsqueeze(1), poses.cameras[poses.camera_of[chosen]]
    with torch.no_grad():
        noise = GeneratorNoise.draw(count, steps.random)
        return pose_3d, camera, steps.generator.eval()(pose_3d, noise=noise)


def changes_by_bone(steps: AdversarialSteps) -> dict[str, tuple[float, float]]:
    """Joint that a bone leads to -> mean turn in degrees, mean change of its length in %."""
    pose_3d, _, generated = sample(steps, MEASURED)
    before, after = (bone_lengths(bones_of(p)) for p in (pose_3d, generated.bone_length))
    changes = 100 * (after / before - 1).abs()
    means = zip(
        generated.turn_degrees.mean((0, 1)).tolist(), changes.mean((0, 1)).tolist(), strict=True
    )
    return dict(zip(H36M_16.joint_names[1:], means, strict=True))


def draw(path: Path, steps: AdversarialSteps) -> None:
    """Draw what the generator does to some poses."""
    pose_3d, camera, generated = sample(steps, DRAWN)
    draw_stages(path, pose_3d, generated, camera, rows=DRAWN)


if __name__ == "__main__":
    run_script(main)
