"""--demo: a small training on the sample, by flags that the user's own ones override."""

import os
from pathlib import Path

from common.files import short_path

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_FOLDER = ROOT / "dataset" / "sample"
_SMALL = "--train 1 -f 27 --layers 3 --channel 64 --d_hid 128 -b 128 --lr 0.003 -lrd 0.8 "
DEMOS: dict[str, list[str]] = {
    script: (_SMALL + words).split()
    for script, words in {
        "trainer.py": "-k gt -tds 2 --n_joints 17 -s 4 --nepoch 8 --name demo --vis 1",
        "trainer_3dhp.py": "--n_joints 16 -s 4 --nepoch 8 --name demo_3dhp --vis 1",
        "pretrainer.py": "--MAE -k gt -tds 2 --n_joints 17 -tmr 0.6 -smn 5 -s 16 --nepoch 4 "
        "--name demo --vis 1",
    }.items()
}


def expanded(script: str, words: list[str]) -> list[str]:
    """The words of a command line with those that --demo stands for in its place."""
    if "--demo" not in words:
        return words
    sample = os.path.join(short_path(SAMPLE_FOLDER), "")
    return ["--root_path", sample, *DEMOS[script], *(word for word in words if word != "--demo")]
