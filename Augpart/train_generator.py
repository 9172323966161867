"""Train PoseAug generators on Human3.6M-format data; pre-training uses what this leaves behind.

Run as `python Augpart/train_generator.py`.
"""

import shlex
import sys
from argparse import Namespace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from Augpart.adversarial_training import (  # noqa: E402  (the path is set just above)
    AdversarialSteps,
    GeneratorTask,
    LinearSchedule,
    Ranges,
    collapses,
    single_poses,
)
from Augpart.augment import FILE_PATTERN  # noqa: E402
from Augpart.bones import NUM_JOINTS, bone_lengths, bones_of  # noqa: E402
from Augpart.draw import draw_stages  # noqa: E402
from Augpart.pose_generator import (  # noqa: E402
    GeneratedPoses,
    GeneratorNoise,
    PoseGenerator,
)
from common.cli import flags as options  # noqa: E402
from common.cli.entry import run_script  # noqa: E402
from common.data import h36m  # noqa: E402
from common.data.skeleton import SKELETONS  # noqa: E402
from common.errors import UserError  # noqa: E402
from common.log import LOG  # noqa: E402
from common.training import (
    checkpoint,  # noqa: E402
    models,  # noqa: E402
    runtime,  # noqa: E402
)
from common.training.loop import Training  # noqa: E402
from common.training.run_folder import RESUME_FILE, RunFolder  # noqa: E402

SCRIPT = "Augpart/train_generator.py"
FREE_ON_RESUME = frozenset("command resume gpu lifter output vis".split())
LIFTER_SIZE = {"layers": 2, "width": 128, "hidden_width": 256}  # when none is given
INITIAL_DEPTH = 5.0  # metres
DRAWN, MEASURED = 4, 4096  # poses


def main() -> None:
    """The run that the command line asks for."""
    args = parse()
    run = runtime.start(gpus=args.gpu, seed=args.manualSeed, precision="fp32")
    if run.world_size > 1:
        raise UserError(f"{SCRIPT} runs in one process, without torchrun")
    files = h36m.H36MFiles.read(args.root_path, args.keypoints)
    store = files.store(args.subjects_train, num_joints=16, downsample=args.downsample)
    poses, left_out = single_poses(store.to(run.device))
    refuse_foreign_files(args.output, resume=args.resume)
    folder = RunFolder(
        run,
        path=args.output,
        options=options.recorded(args),
        free_on_resume=FREE_ON_RESUME,
        train=True,
        resume=args.resume,
    )
    LOG.info("%d poses, %d more leave their image and are left out", len(poses), left_out)
    schedule = LinearSchedule(
        epochs=args.nepoch,
        batch_size=args.batchSize,
        micro_batch=0,
        learning_rate=args.lr,
        decay=1,
        large_decay=1,
        large_decay_epoch=1,
        seed=args.manualSeed,
    )
    generator = PoseGenerator(length_limit=args.blr_tanhlimit)
    generator.move_away(INITIAL_DEPTH)
    steps = AdversarialSteps(
        poses,
        generator,
        feedback_lifter(args.lifter),
        Ranges(args.ba_range_m, args.ba_range_w, args.blr_limit),
        schedule,
        random=run.new_generator(args.manualSeed),
        warm_up=args.warm_up,
    )
    task = GeneratorTask(steps)

    def after_epoch(epoch: int, measures: dict[str, float]) -> None:
        for collapse in collapses(measures):
            LOG.warning("collapse? epoch %d: %s", epoch, collapse)
        if epoch == args.nepoch or (epoch >= args.save_from and epoch % args.save_every == 0):
            save_generator(folder.path, generator, epoch, args)

    training = Training(task, steps, run, schedule, folder, keep="never", after_epoch=after_epoch)
    folder.results["history"] = training.run(resume=args.resume)
    folder.results["bones"] = bones = changes_by_bone(steps)
    LOG.info("%-15s %12s %16s", "bone to", "turn degrees", "length changed %")
    for name, (turn, change) in bones.items():
        LOG.info("%-15s %12.1f %16.1f", name, turn, change)
    if args.vis:
        draw(folder.path / "generator.png", steps)
    folder.write_results()
    names = ", ".join(path.name for path in sorted(folder.path.glob(FILE_PATTERN)))
    LOG.info("generators in %s: %s", folder.path, names)


def parse() -> Namespace:
    """Read and check the command line."""
    parser = options.Parser(prog=SCRIPT, description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("--root_path", default="./dataset/", help="data folder")
    add("-k", "--keypoints", default="gt", help="which data_2d_h36m_<k>.npz goes with the 3D")
    add("--subjects_train", type=options.name_list, default=options.TRAIN_SUBJECTS, help="list")
    add("--downsample", type=options.at_least(1), default=1, help="keep every n-th frame")
    add("--nepoch", type=options.at_least(1), default=50, help="epochs")
    add("-b", "--batchSize", type=options.at_least(2), default=1024, help="poses a step")
    add("--lr", type=options.positive, default=1e-4, help="learning rate, falls linearly to 0")
    add("--warm_up", type=options.at_least(0), default=2, help="epochs without the lifter's say")
    add("--lifter", default="", help="one-frame 16-joint lifter to begin with (default: a new one)")
    add("--ba_range_m", type=float, default=0.205, help="middle of the range of the mean turn")
    add("--ba_range_w", type=float, default=0.165, help="half of its width")
    add("--blr_limit", type=float, default=0.1, help="change of a bone's length that costs nothing")
    add("--blr_tanhlimit", type=options.positive, default=0.2, help="largest change of a length")
    add("--save_every", type=options.at_least(1), default=5, help="epochs between generator files")
    add("--save_from", type=int, help="first epoch that is saved (default: half of --nepoch)")
    add("--output", type=Path, default=options.GENERATOR_FOLDER, help="where files go")
    add("--gpu", type=options.device_list, default=[0], help="device")
    add("--manualSeed", type=int, default=1, help="seed of every random source")
    add("--vis", type=int, default=0, help="1: draw what the generator does")
    add("-r", "--resume", action="store_true", help="go on from an interrupted run, exactly")
    args = parser.parse_args()
    if args.save_from is None:
        args.save_from = (args.nepoch + 1) // 2
    args.command = shlex.join(["python", SCRIPT, *sys.argv[1:]])
    return args


def refuse_foreign_files(folder: Path, *, resume: bool) -> None:
    """Do not mix generators that something else put into the folder with those of this run."""
    present = sorted(folder.glob(FILE_PATTERN))
    if present and not resume and not (folder / RESUME_FILE).exists():
        raise UserError(
            f"{folder} holds generators that no run here made ({present[0].name}): move them, or "
            "give another --output"
        )


def feedback_lifter(path: str) -> torch.nn.Module:
    """A one-frame lifter, new or from a file of any size."""
    size = dict(LIFTER_SIZE)
    if path:
        held = checkpoint.describe_size(checkpoint.load_state_dict(path))
        if held.get("frames") != 1 or held.get("n_joints") != 16:
            raise UserError(f"--lifter {path}: not a lifter of 1 frame and 16 joints ({held})")
        names = {"layers": "layers", "channel": "width", "d_hid": "hidden_width"}
        size = {name: held[flag] for flag, name in names.items()}
    modules = models.build_lifter(
        {"frames": 1, "num_joints": 16, **size},
        refine=False,
        every_frame=False,
        whole=path or None,
        matching=None,
        refiner=None,
    )
    return modules["no_refine"]


def save_generator(folder: Path, generator: PoseGenerator, epoch: int, args: Namespace) -> None:
    """Write a generator under the name that published ones have, with the options of its run."""
    state = {name: tensor.cpu() for name, tensor in generator.state_dict().items()}
    content = {"model_G": state, "options": options.recorded(args)}
    checkpoint.save_torch(folder / f"ckpt_generater{epoch}.pth.tar", content)


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
    return dict(zip(SKELETONS[NUM_JOINTS].joint_names[1:], means, strict=True))


def draw(path: Path, steps: AdversarialSteps) -> None:
    """Draw what the generator does to some poses."""
    pose_3d, camera, generated = sample(steps, DRAWN)
    draw_stages(path, pose_3d, generated, camera, rows=DRAWN)


if __name__ == "__main__":
    run_script(main)
