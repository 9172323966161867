"""The method's claims, tested with small models: the tables of checkpoint/README.md.

    python dataset/prepare_motion.py clips.npz --unchecked --output MOTION \\
        --held_out checkpoint/held_out_clips.txt --cameras 1 --bodies 1 --test_cameras 1
    python tests/claims.py MOTION

A script, not a test. It trains in the folder it is started in, with the commands that users run,
and prints a table for each claim: errors of lifters on held-out people after fine-tuning, mean and
sample standard deviation over seeds. All models of a table have had the same number of steps (to
rounding to whole epochs), and none has seen a test pose before it is tested. The same command goes
on where it was stopped.

    labels          fine-tuning on 1 %, 10 % and 100 % of the people, from pre-training or not
    modalities      pre-training on 2D, on 3D, on both
    frames          pre-training with 40, 60, 80 % of the frames hidden
    poseaug         pre-training with and without PoseAug's poses (16 joints)
    normalisations  how pixels become the input of a lifter, without pre-training
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from released_models import held_out, predict, protocols  # noqa: E402

from common.cli.commands import latest_weights, run_command  # noqa: E402
from common.cli.entry import run_script  # noqa: E402
from common.cli.flags import GENERATOR_SCRIPT  # noqa: E402
from common.cli.parser import Parser  # noqa: E402
from common.cli.values import at_least, name_list, share  # noqa: E402
from common.data.base import DataOptions  # noqa: E402
from common.data.h36m import load  # noqa: E402
from common.data.pose_store import PoseStore  # noqa: E402
from common.evaluation.results import mean_and_spread  # noqa: E402
from common.files import write_atomically  # noqa: E402
from common.inference.models import load_model  # noqa: E402

STATE_FILE = Path("claims.json")
BATCH = 128
MODEL = f"-f 27 -tds 2 --layers 3 --channel 64 --d_hid 128 -b {BATCH} --train 1 --test 0"
EPOCHS = 10  # at least so many, so that the learning rate falls smoothly
FALL = 0.05  # of the learning rate, from the first epoch to the last
TESTED = 5  # every n-th frame
GENERATORS = "generators"
GENERATOR_WORDS = "--nepoch 20 -b 256 --lr 0.0005 --downsample 4"
FEW = 0.1  # share of the people in the tables that compare pre-trainings
Errors = tuple[float, float]  # protocol 1 and 2, mm


@dataclass(frozen=True)
class PreTraining:
    """What a model is pre-trained with.

    Attributes:
        name: short and unique, part of file names.
        words: of its command.
        modalities: samples per window.
        joints: 16 or 17.
    """

    name: str
    words: str = "-tmr 0.6"
    modalities: int = 2
    joints: int = 17


BOTH = PreTraining("both")
ONLY_2D = PreTraining("only2d", "-tmr 0.6 --modalities 2d", 1)
ONLY_3D = PreTraining("only3d", "-tmr 0.6 --modalities 3d", 1)
FEWER_FRAMES = PreTraining("tmr40", "-tmr 0.4")
MORE_FRAMES = PreTraining("tmr80", "-tmr 0.8")
PLAIN = PreTraining("plain16", "-tmr 0.6 --poseaug 0", joints=16)
AUGMENTED = PreTraining(
    "poseaug16", f"-tmr 0.6 --generators {GENERATORS} --blr_tanhlimit 0.2", joints=16
)


@dataclass(frozen=True)
class Lifter:
    """How a lifter is trained, and tested.

    Attributes:
        pre_training: what it starts from, or None.
        share: of the people that it is fine-tuned on.
        normalisation: of its input.
        joints: 16 or 17.
        keypoints: that it is trained and tested on.
    """

    pre_training: PreTraining | None = None
    share: float = 1.0
    normalisation: str = "rays"
    joints: int = 17
    keypoints: str = "gt"


def main() -> None:
    """Train what is not trained, and print the tables."""
    parser = Parser(prog="python tests/claims.py", description=__doc__.split("\n")[0])
    parser.add_argument("motion", type=Path, help="folder of dataset/prepare_motion.py")
    parser.add_argument(
        "--tables", type=name_list, default=list(TABLES), help=f"comma list of {', '.join(TABLES)}"
    )
    parser.add_argument("--seeds", type=name_list, default=["1", "2", "3"], help="comma list")
    parser.add_argument("--steps", type=at_least(1), default=600, help="of pre-training")
    parser.add_argument("--tune_steps", type=at_least(1), default=400, help="of fine-tuning")
    parser.add_argument("--part", type=share, default=1.0, help="of the training people")
    args = parser.parse_args()
    if unknown := set(args.tables) - TABLES.keys():
        parser.error(f"--tables: no {', '.join(sorted(unknown))}")
    lab = Laboratory(args)
    for name in args.tables:
        print("\n".join(TABLES[name](lab)), flush=True)


class Laboratory:
    """Trains and tests models of some seeds on a folder of motion, each once."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Read the training poses, to count windows and people."""
        self.motion: Path = args.motion.resolve()
        self.seeds = [int(word) for word in args.seeds]
        self.steps, self.tune_steps = args.steps, args.tune_steps
        self.tests: dict[tuple[str, str, int], PoseStore] = {}
        store = load(DataOptions(self.motion, 17, True, False, keypoints="gt")).train
        assert store is not None
        self.people = sorted({name.subject for name in store.names})
        self.people = self.people[: math.ceil(args.part * len(self.people))]
        self.lengths = [
            (name.subject, len(range(*frames.indices(len(store.pose_2d)))))
            for name, frames in zip(store.names, store.sequence_slices(), strict=True)
        ]

    def errors(self, lifter: Lifter, keypoints: str | None = None) -> list[Errors]:
        """The errors of the lifters of all seeds on held-out people."""
        return [self._errors(lifter, seed, keypoints or lifter.keypoints) for seed in self.seeds]

    def _errors(self, lifter: Lifter, seed: int, keypoints: str) -> Errors:
        name = lifter_name(lifter, seed)
        key = f"{name} on {keypoints}, {self.steps} and {self.tune_steps} steps, {self.motion}"
        known = json.loads(STATE_FILE.read_text()) if STATE_FILE.exists() else {}
        if key not in known:
            model = load_model(self._tuned(lifter, seed, name))
            kind = keypoints, lifter.normalisation, lifter.joints
            if kind not in self.tests:
                self.tests[kind] = held_out(self.motion, keypoints, model)
            store = self.tests[kind]
            with torch.inference_mode():
                predicted, frames = predict(model, store.pose_2d, store, None, TESTED)
            measured = protocols(predicted, store.pose_3d[frames])
            known = json.loads(STATE_FILE.read_text()) if STATE_FILE.exists() else {}
            write_atomically(STATE_FILE, json.dumps(known | {key: measured}, indent=1).encode())
            return measured
        one, two = known[key]
        return one, two

    def _tuned(self, lifter: Lifter, seed: int, name: str) -> Path:
        """The weights of a lifter, trained if they are not there."""
        people = self._drawn(lifter.share, seed)
        words = ["--lr", "0.003", *self._subjects(people)]
        words += self._schedule(people, 1, self.tune_steps)
        words += ["-k", lifter.keypoints, "--normalise", lifter.normalisation]
        if lifter.pre_training is not None:
            start = self._pre_trained(lifter.pre_training, lifter.normalisation, seed)
            words += ["--MAEreload", "1", "--previous_dir", str(start)]
        folder = Path("checkpoint") / f"finetune_{name}_f27_t0.80"
        return self._trained("trainer.py", name, "no_refine", folder, lifter.joints, seed, words)

    def _pre_trained(self, how: PreTraining, normalisation: str, seed: int) -> Path:
        """The weights of a masked model, trained if they are not there."""
        if "--generators" in how.words and not list(Path(GENERATORS).glob("*.pth.tar")):
            words = ["--root_path", str(self.motion), "--output", GENERATORS]
            words += [*self._subjects(self.people), *GENERATOR_WORDS.split()]
            run_command("generators", GENERATOR_SCRIPT, words, Path(GENERATORS))
        words = ["--MAE", "-smn", "5", *how.words.split(), "-k", "gt", "--lr", "0.001"]
        words += [*self._subjects(self.people), "--normalise", normalisation]
        words += self._schedule(self.people, how.modalities, self.steps)
        name = f"{how.name}_s{seed}"
        rate = float(how.words.split()[1])
        folder = Path("checkpoint") / f"pretrain_{name}_f27_t{rate:.2f}"
        return self._trained("pretrainer.py", name, "pretrain", folder, how.joints, seed, words)

    def _trained(
        self,
        script: str,
        name: str,
        what: str,
        folder: Path,
        joints: int,
        seed: int,
        words: Sequence[str],
    ) -> Path:
        """The latest weights of a training that is run to its end unless it was."""
        if not (folder / "results.json").exists():
            own = ["--name", name, "--n_joints", str(joints), "--manualSeed", str(seed)]
            command = [*MODEL.split(), "--root_path", str(self.motion), *own, *words]
            run_command(name, script, command, folder)
        return latest_weights(name, what, folder)

    def _subjects(self, people: Sequence[str]) -> list[str]:
        """The options that name people; none for all whom the data name."""
        everybody = {subject for subject, _ in self.lengths}
        return [] if set(people) == everybody else ["--subjects_train", ",".join(people)]

    def _drawn(self, part: float, seed: int) -> list[str]:
        """A share of the people, drawn by the seed."""
        count = math.ceil(part * len(self.people))
        return sorted(random.Random(seed).sample(self.people, count))

    def _schedule(self, people: Sequence[str], copies: int, steps: int) -> list[str]:
        """Stride, epochs and decay for a number of steps, whatever the number of windows.

        Args:
            people: whose windows, each also mirrored.
            copies: samples of each window.
            steps: in all.
        """
        chosen = set(people)
        lengths = [length for subject, length in self.lengths if subject in chosen]
        frames = 2 * copies * sum(lengths)
        stride = max(1, math.ceil(frames * EPOCHS / (steps * BATCH)))
        windows = 2 * copies * sum(math.ceil(length / stride) for length in lengths)
        epochs = max(2, round(steps / math.ceil(windows / BATCH)))
        decay = FALL ** (1 / (epochs - 1))
        return ["-s", str(stride), "--nepoch", str(epochs), "-lrd", f"{decay:.5f}"]


def lifter_name(lifter: Lifter, seed: int) -> str:
    """The task's name of a lifter."""
    start = "scratch" if lifter.pre_training is None else lifter.pre_training.name
    parts = [start, f"{100 * lifter.share:g}", lifter.normalisation, lifter.keypoints]
    return "_".join([*parts, str(lifter.joints), f"s{seed}"])


def cells(errors: Sequence[Errors]) -> str:
    """Protocol 1 and 2 over seeds, as two cells."""
    return " | ".join(mean_and_spread(values) for values in zip(*errors, strict=True))


def rows(
    lab: Laboratory, title: str, lifters: Sequence[tuple[str, Lifter]], keypoints: str | None = None
) -> list[str]:
    """A table with a row for each lifter."""
    lines = [f"\n| {title} | p1 mm | p2 mm |", "|---|---|---|"]
    for name, lifter in lifters:
        lines.append(f"| {name} | {cells(lab.errors(lifter, keypoints))} |")
    return lines


def labels(lab: Laboratory) -> list[str]:
    """Pre-training against none, with few and with many people to fine-tune on."""
    lines = []
    for part in (0.01, 0.1, 1.0):
        kinds = (("none", None), ("2D and 3D", BOTH))
        lifters = [(name, Lifter(start, part)) for name, start in kinds]
        people = math.ceil(part * len(lab.people))
        lines += rows(lab, f"fine-tuned on {people} of {len(lab.people)} people, after", lifters)
    return lines


def modalities(lab: Laboratory) -> list[str]:
    """What pre-training learns from."""
    kinds = (("none", None), ("2D", ONLY_2D), ("3D", ONLY_3D), ("2D and 3D", BOTH))
    return rows(lab, "pre-training on", [(name, Lifter(start, FEW)) for name, start in kinds])


def frames(lab: Laboratory) -> list[str]:
    """How many frames pre-training hides."""
    kinds = (("0.4", FEWER_FRAMES), ("0.6", BOTH), ("0.8", MORE_FRAMES))
    return rows(lab, "`-tmr`", [(name, Lifter(start, FEW)) for name, start in kinds])


def poseaug(lab: Laboratory) -> list[str]:
    """Pre-training with and without generated poses."""
    kinds = (("none", None), ("without PoseAug", PLAIN), ("with PoseAug", AUGMENTED))
    lifters = [(name, Lifter(start, FEW, "width", 16)) for name, start in kinds]
    return rows(lab, "pre-training, 16 joints", lifters)


def normalisations(lab: Laboratory) -> list[str]:
    """How pixels become the input, for cameras of all kinds."""
    lines = []
    for keypoints in ("gt", "det"):
        lifters = [
            (name, Lifter(normalisation=name, keypoints=keypoints))
            for name in ("width", "longer", "rays")
        ]
        lines += rows(lab, f"`--normalise`, keypoints {keypoints}", lifters)
    return lines


TABLES: dict[str, Callable[[Laboratory], list[str]]] = {
    "labels": labels,
    "modalities": modalities,
    "frames": frames,
    "poseaug": poseaug,
    "normalisations": normalisations,
}


if __name__ == "__main__":
    run_script(main)
