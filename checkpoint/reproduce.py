"""Run the paper's whole table, in order: pre-training, fine-tuning, refining, completions, report.

    python checkpoint/reproduce.py --root_path path/to/data --dry-run
    python checkpoint/reproduce.py --root_path path/to/data --gpu 0,1

Every input is checked before the first run begins. The same command goes on where it was stopped:
finished steps are skipped, an unfinished one is resumed. --dry-run checks inputs and commands and
prints them; --small runs everything with small networks, to see it work before the days begin.
"""
# ruff: noqa: E402  (the other modules are found on the path that is added first)

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from Augpart.augment import FILE_PATTERN
from Augpart.train_generator import read_config as read_generator_config
from common.cli.commands import latest_weights, run_command
from common.cli.entry import run_script
from common.cli.flags import GENERATOR_SCRIPT
from common.cli.options import read as read_options
from common.cli.paper_table import STEPS, Step
from common.cli.parser import Parser
from common.cli.values import device_list, name_list, seed
from common.data.inspect import check, read_clips
from common.errors import UserError
from common.evaluation.results import load_published
from common.files import write_atomically
from common.log import LOG
from common.report import report

STATE_FILE = "reproduce.json"
# Added by --small; of a flag given twice, the last counts.
SMALL_MODEL = "-f 9 --layers 1 --channel 16 --d_hid 16 --debug 1"
SMALL = f"{SMALL_MODEL} -b 128 --nepoch 1 -s 1 --lr 0.001"
SMALL_GENERATOR = "-b 256 --nepoch 2 --downsample 20 --warm_up 1"


@dataclass(frozen=True)
class Job:
    """A step for one seed, on this machine's data.

    Attributes:
        step: the step.
        seed: of its random numbers.
        name: of its task.
        words: its options but for those of weights.
        source: the job that leaves the weights it starts from.
    """

    step: Step
    seed: int
    name: str
    words: tuple[str, ...]
    source: "Job | None"

    @property
    def folder(self) -> Path:
        """Where the run writes, relative to the working folder."""
        if self.step.script == GENERATOR_SCRIPT:
            return read_generator_config(self.words).output
        return Path(read_options(self.step.script, self.words)[0].checkpoint)

    def weights_words(self, path: Path | str) -> list[str]:
        """The options that load weights."""
        return [*self.step.weights.flags.split(), str(path)] if self.step.weights else []

    def check(self) -> None:
        """Require that the scripts understand the command.

        Raises:
            UserError: they do not.
        """
        if self.step.script == GENERATOR_SCRIPT:
            read_generator_config(self.words)
        else:
            read_options(self.step.script, self.words)

    def command(self, weights: Path | str) -> str:
        """The command for reading."""
        words = [*self.words, *self.weights_words(weights)]
        return shlex.join(["python", self.step.script, *words])


def main() -> None:
    """Check, run what is not finished, report."""
    args = parse_arguments()
    steps = chosen_steps(args.steps)
    jobs = jobs_of(steps, args)
    state = State(Path("checkpoint") / STATE_FILE)
    for job in jobs:
        job.check()
        state.holds(job)
    check_inputs(steps, args.root_path, state)
    if args.dry_run:
        for job in jobs:
            LOG.info(job.command(f"<weights of {job.source.name}>" if job.source else ""))
        return
    for job in jobs:
        if state.holds(job) and job.folder.is_dir():
            LOG.info("%s: finished before", job.name)
        else:
            run(job)
            state.finish(job)
    folders = dict.fromkeys(job.folder for job in jobs if job.step.script != GENERATOR_SCRIPT)
    for line in report(list(folders), load_published()):
        LOG.info(line)


def parse_arguments() -> Any:
    """Read the command line."""
    parser = Parser(prog="python checkpoint/reproduce.py", description=__doc__)
    add = parser.add_argument
    add("--root_path", type=Path, default=ROOT / "dataset", help="data folder (default: dataset/)")
    add("--steps", type=name_list, help=f"comma list of {', '.join(s.name for s in STEPS)}")
    add("--seeds", type=seed_list, default=[1], help="comma list of seeds (default: 1)")
    add("--gpu", type=devices, default="0,1", help="GPU indices (default: 0,1)")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of the arithmetic")
    add("--generators", type=Path, help="folder with PoseAug generators (default: train them)")
    add("--dry-run", action="store_true", help="check inputs and commands, print them, run nothing")
    add("--small", action="store_true", help="small networks, one short epoch each")
    args = parser.parse_args()
    args.root_path = args.root_path.resolve()
    if args.generators is not None:
        args.generators = args.generators.resolve()
        if not list(args.generators.glob(FILE_PATTERN)):
            raise UserError(f"--generators {args.generators}: holds no {FILE_PATTERN}")
    return args


def seed_list(text: str) -> list[int]:
    """Seeds from a comma list."""
    return [seed(word) for word in name_list(text)]


def devices(text: str) -> str:
    """A comma list of device numbers, as it stands."""
    device_list(text)
    return text


def chosen_steps(names: Sequence[str] | None) -> list[Step]:
    """The steps that --steps names, in the order of the table.

    Raises:
        UserError: there is none of a name.
    """
    known = [step.name for step in STEPS]
    for name in names or ():
        if name not in known:
            raise UserError(f"--steps: no step {name!r}; there are {', '.join(known)}")
    return [step for step in STEPS if names is None or step.name in names]


def jobs_of(steps: Sequence[Step], args: Any) -> list[Job]:
    """The jobs of some steps, those before them first.

    Raises:
        UserError: a step is chosen without one that it needs, whose weights are not there.
    """
    jobs: dict[tuple[str, int], Job] = {}
    for number in args.seeds:
        for step in steps:
            if step.script == GENERATOR_SCRIPT and args.generators is not None:
                continue
            of_seed = number if step.seeded else args.seeds[0]
            if (step.name, of_seed) not in jobs:
                earlier = _earlier(step, of_seed, args)
                jobs[step.name, of_seed] = _job(step, of_seed, args, earlier)
    return list(jobs.values())


def _earlier(step: Step, number: int, args: Any) -> Job | None:
    """The job whose weights a step starts from, whether it is chosen or was run before."""
    if step.weights is None:
        return None
    source = next(s for s in STEPS if s.name == step.weights.step)
    return _job(source, number, args, _earlier(source, number, args))


def _job(step: Step, number: int, args: Any, source: Job | None) -> Job:
    prefix = "small_" if args.small else ""
    name = f"{prefix}{step.name}{f'_s{number}' if step.seeded else ''}"
    generators = f"checkpoint/{prefix}generators"
    words = [*step.words.split(), "--root_path", f"{args.root_path}/", "--gpu", args.gpu]
    words += ["--manualSeed", str(number)]
    if step.script == GENERATOR_SCRIPT:
        words += ["--output", generators]
        small = SMALL_GENERATOR
    else:
        words += ["--name", name] if step.trains else []
        words += ["--precision", args.precision]
        small = SMALL if step.trains else SMALL_MODEL
    if "generators" in step.needs:
        words += ["--generators", str(args.generators or generators)]
    return Job(step, number, name, (*words, *(small.split() if args.small else ())), source)


class State:
    """What has been done, in a file beside the runs.

    Attributes:
        finished: names of jobs.
        checked: data files that were found sound, and their size and time then.
    """

    def __init__(self, path: Path) -> None:
        """Read the file, if there is one.

        Raises:
            UserError: it is damaged.
        """
        self.path = path
        self.finished: dict[str, str] = {}
        self.checked: dict[str, list[int]] = {}
        if path.exists():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                self.finished = {name: str(how) for name, how in content["finished"].items()}
                self.checked = dict(content["checked"])
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"{path}: damaged ({error}); remove it to begin anew") from None

    def holds(self, job: Job) -> bool:
        """Whether a job is finished.

        Raises:
            UserError: it was run with other options, so that results would be mixed.
        """
        done = self.finished.get(job.name)
        free = ("--gpu",) if job.step.seeded else ("--gpu", "--manualSeed")
        if done is not None and _without(free, done) != _without(free, job.command("...")):
            raise UserError(
                f"{job.name} was finished with other options ({done}); give the same, or move "
                f"{self.path.parent} away to begin anew"
            )
        return done is not None

    def finish(self, job: Job) -> None:
        """Note that a job is finished."""
        self.finished[job.name] = job.command("...")
        self.write()

    def write(self) -> None:
        """Write the file."""
        self.path.parent.mkdir(exist_ok=True)
        content = {"finished": self.finished, "checked": self.checked}
        write_atomically(self.path, json.dumps(content, indent=1).encode())


def _without(flags: Sequence[str], command: str) -> list[str]:
    """The words of a command, without some flags and their values."""
    words = shlex.split(command)
    for flag in flags:
        at = words.index(flag) if flag in words else len(words)
        words = words[:at] + words[at + 2 :]
    return words


def check_inputs(steps: Sequence[Step], root: Path, state: State) -> None:
    """Require that every data file is there and sound; those checked before are not read again.

    Raises:
        UserError: one is not.
    """
    users: dict[str, list[str]] = {}
    for step in steps:
        for name in step.files:
            users.setdefault(name, []).append(step.name)
    missing = {name: by for name, by in users.items() if not (root / name).exists()}
    if missing:
        rest = [s.name for s in steps if not set(s.files) & missing.keys()]
        name, by = next(iter(missing.items()))
        hint = f"; without it: --steps {','.join(rest)}" if rest else ""
        raise UserError(
            f"{root / name}: no such file, needed by {', '.join(by)}; "
            f"dataset/README.md says how to get it{hint}"
        )
    for name in users:
        path = root / name
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        if state.checked.get(str(path)) != stamp:
            kind, clips = read_clips(path)
            if problem := next((p for clip in clips for p in check(clip)), None):
                raise UserError(f"{path}: {problem}")
            LOG.info("%s: %s, %d sequences, sound", path, kind, len(clips))
            state.checked[str(path)] = stamp
    state.write()


def run(job: Job) -> None:
    """Run a job to its end, resuming one that was interrupted.

    Raises:
        FailedRun: it failed.
        Interrupted: a signal ended it.
        UserError: weights that it starts from are not there.
    """
    words = [*job.words]
    if job.source is not None:
        assert job.step.weights is not None
        what = job.step.weights.what
        words += job.weights_words(latest_weights(job.source.name, what, job.source.folder))
    run_command(job.name, job.step.script, words, job.folder, trains=job.step.trains)


if __name__ == "__main__":
    run_script(main)
