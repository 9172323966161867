"""The commands of the paper's whole table as published, in the order in which they build."""

from dataclasses import dataclass

from common.cli.flags import GENERATOR_SCRIPT

H36M_3D, H36M_GT, H36M_CPN = (
    "data_3d_h36m.npz",
    "data_2d_h36m_gt.npz",
    "data_2d_h36m_cpn_ft_h36m_dbb.npz",
)
MPI_3DHP = ("data_train_3dhp.npz", "data_test_3dhp.npz")


@dataclass(frozen=True)
class Weights:
    """The weights of an earlier step that a command loads.

    Attributes:
        flags: before their path.
        step: name of the step.
        what: part of their file name: pretrain, no_refine or refine.
    """

    flags: str
    step: str
    what: str


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: short and unique; the task's name in file names.
        script: that it runs.
        words: its options, as published.
        files: data files that it reads.
        weights: what it starts from.
        needs: other steps that come first.
        trains: whether it leaves weights; else it evaluates.
        seeded: whether it is run for every seed.
    """

    name: str
    script: str
    words: str
    files: tuple[str, ...]
    weights: Weights | None = None
    needs: tuple[str, ...] = ()
    trains: bool = True
    seeded: bool = True


PRE_TRAIN = "--MAE -f 243 --train 1 -k gt -b 1024 -tds 2 --lr 0.0001 -lrd 0.97 -tmr 0.6 -smn 5"
FINE_TUNE = "-f 243 --train 1 -b 1024 --lr 0.0007 -lrd 0.97"
REFINE = "-f 243 --train 1 -b 1024 --lr 0.0001 -lrd 0.97 --layers 4 -tds 2 --refine"
COMPLETE = (
    "-f 27 -b 2048 -k gt --train 1 --layers 3 -tds 2 --lr 0.0002 -lrd 0.97 --MAE --n_joints 17"
)
TEST = "-f 27 --n_joints 17 -k gt --train 0 --layers 3 -tds 2 --MAE"
H36M_FILES = (H36M_3D, H36M_GT)


def _lifters(name: str, words: str, files: tuple[str, ...], pre_trained: str) -> tuple[Step, Step]:
    """Fine-tuning on Human3.6M from pre-trained weights, and refining what comes of it."""
    start = Weights("--MAEreload 1 --previous_dir", pre_trained, "pretrain")
    best = Weights("--reload 1 --previous_dir", name, "no_refine")
    tuned = Step(name, "trainer.py", f"{FINE_TUNE} --layers 4 -tds 2 {words}", files, start)
    return tuned, Step(f"{name}_refined", "trainer.py", f"{REFINE} {words}", files, best)


STEPS = (
    Step("generators", GENERATOR_SCRIPT, "-k gt", H36M_FILES, seeded=False),
    Step(
        "pre17", "pretrainer.py", f"{PRE_TRAIN} --n_joints 17 --layers 4 --dataset h36m", H36M_FILES
    ),
    Step(
        "pre16_poseaug",
        "pretrainer.py",
        f"{PRE_TRAIN} --n_joints 16 --layers 4 --dataset h36m",
        H36M_FILES,
        needs=("generators",),
    ),
    Step(
        "pre16_three",
        "pretrainer.py",
        f"{PRE_TRAIN} --n_joints 16 --layers 3 --dataset h36m,3dhp,amass",
        (*H36M_FILES, *MPI_3DHP, "amass.npz"),
    ),
    *_lifters("cpn17", "--n_joints 17", (H36M_3D, H36M_CPN), "pre17"),
    *_lifters("gt17", "-k gt --n_joints 17", H36M_FILES, "pre17"),
    *_lifters("gt16", "-k gt --n_joints 16", H36M_FILES, "pre16_poseaug"),
    Step(
        "3dhp",
        "trainer_3dhp.py",
        f"{FINE_TUNE} -k gt --n_joints 16 --layers 3 -tds 1",
        MPI_3DHP,
        Weights("--MAEreload 1 --previous_dir", "pre16_three", "pretrain"),
    ),
    Step("comp3dcam", "pretrainer.py", f"{COMPLETE} --comp3d 1", H36M_FILES),
    Step(
        "comp3dcam_test",
        "pretrainer.py",
        f"{TEST} --comp3d 1 --test_augmentation True --mask_manner3D 0,1,2,3",
        H36M_FILES,
        Weights("--MAEreload 1 --MAEcp", "comp3dcam", "pretrain"),
        trains=False,
    ),
    Step(
        "maskedliftcam",
        "pretrainer.py",
        f"{COMPLETE} --comp2dlift 1 --test_augmentation True",
        H36M_FILES,
    ),
    Step(
        "maskedliftcam_test",
        "pretrainer.py",
        f"{TEST} --comp2dlift 1 --mask_manner2D 0,1,2,3",
        H36M_FILES,
        Weights("--MAEreload 1 --MAEcp", "maskedliftcam", "pretrain"),
        trains=False,
    ),
)
