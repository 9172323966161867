"""Flags without effect are said in one line; the published commands have none."""

import logging

import pytest

from common.cli import options
from common.cli.effects import TABLE, without_effect
from common.cli.flags import build_parser

LOADS = "--MAEreload 1 --previous_dir x.pth"
PUBLISHED = [
    "trainer.py -f 243 --n_joints 17 --gpu 0,1 --reload 1 --layers 4 -tds 2 --previous_dir x.pth "
    "--refine --refine_reload 1 --previous_refine_name x_refine.pth",
    "pretrainer.py -f 27 --model MAE --n_joints 17 -k gt --train 0 --layers 3 -tds 2 --gpu 1 "
    "--dataset h36m --MAE --comp3d 1 --test_augmentation True --MAEreload 1 --MAEcp x.pth "
    "--mask_manner3D 0,1,2,3",
    "pretrainer.py -f 27 --model MAE --n_joints 17 -k gt --train 0 --layers 3 -tds 2 --gpu 1 "
    "--dataset h36m --MAE --comp2dlift 1 --MAEreload 1 --MAEcp x.pth --mask_manner2D 0,1,2,3",
    "pretrainer.py --MAE -f 243 --n_joints 16 -b 1024 -k gt -tds 2 --train 1 --dataset "
    "h36m,3dhp,amass --layers 3 --lr 0.0001 -lrd 0.97 -tmr 0.6 -smn 5 --gpu 0 --name task_name",
    f"trainer.py -f 243 -k gt --train 1 --n_joints 17 -b 1024 --gpu 0,1 --lr 0.0007 -lrd 0.97 "
    f"--layers 4 -tds 2 {LOADS}",
    "trainer.py -f 243 -k gt --train 1 --n_joints 17 -b 1024 --gpu 0,1 --lr 0.0001 -lrd 0.97 "
    "--layers 4 -tds 2 --reload 1 --previous_dir x.pth --refine",
    f"trainer_3dhp.py -f 243 -k gt --train 1 --n_joints 16 -b 1024 --gpu 0,1 --lr 0.0007 -lrd 0.97 "
    f"--layers 3 -tds 1 {LOADS}",
    "pretrainer.py -f 27 -b 2048 --model MAE -k gt --train 1 --layers 3 -tds 2 --lr 0.0002 -lrd "
    "0.97 --name comp3dcam --gpu 0,1 --dataset h36m --MAE --comp3d 1 --n_joints 17",
]


def idle(command: str) -> list[str]:
    script, *words = command.split()
    parser = build_parser(script)
    args, given = options._parse(parser, words)
    return without_effect(script, args, given, options._defaults(parser))


@pytest.mark.parametrize("command", PUBLISHED)
def test_published_commands_are_silent(command):
    assert idle(command) == []


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("trainer.py --train 1 --test 0 --save_predictions p.npz", "save_predictions"),
        ("pretrainer.py --save_predictions p.npz --force", "save_predictions"),
        ("trainer.py --metric_3dhp official", "metric_3dhp"),
        ("trainer.py --metric_3dhp published", ""),
        ("trainer.py --dataset 3dhp --metric_3dhp official", ""),
        ("trainer.py --refine_reload 1 --previous_refine_name x.pth", "refine_reload"),
        ("trainer.py --refine --previous_refine_name x.pth", "previous_refine_name"),
        ("trainer.py --previous_dir x.pth", "previous_dir"),
        ("pretrainer.py --previous_dir x.pth --MAEreload 1 --MAEcp y.pth", "previous_dir"),
        ("trainer.py --MAEcp x.pth", "MAEcp"),
        ("pretrainer.py --MAEcp x.pth", "MAEcp"),
        ("trainer.py --reload 1 --MAEreload 1 --previous_dir x.pth", "MAEreload"),
        ("trainer.py -r --lr 0.1 --name a", "resume lr name"),
        ("trainer.py --train 1 --frozen_parts fcn", "frozen_parts"),
        ("trainer.py --train 1 --force", "force"),
        ("trainer_3dhp.py --dataset 3dhp", "dataset"),
        ("trainer.py --comp3d 1 -smn 3", "comp3d spatial_mask_num"),
        ("pretrainer.py --train 1 --MAE --mask_manner3D 0", "mask_manner3D"),
        ("pretrainer.py --out_all 0", "out_all"),
        ("trainer.py --modalities 2d", "modalities"),
        ("pretrainer.py --MAE --comp3d 1 --modalities 2d", "modalities"),
        ("pretrainer.py --MAE --train 1 --modalities 2d", ""),
        ("trainer.py --test 0", "test"),
        ("trainer.py --legacy_3dhp_scale 1", "legacy_3dhp_scale"),
        ("trainer.py --test 1 --train 0 --lr 0.001", ""),
    ],
)
def test_flags_without_effect(command, flags):
    found = idle(command)
    assert {text.split()[0] for text in found} == {f"--{flag}" for flag in flags.split()}


def test_they_are_one_line_of_the_log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mpm"), "propagate", True)
    options.read("trainer.py", ["--MAEcp", "x", "--lr", "0.1"])
    (record,) = caplog.records
    assert record.getMessage() == (
        "warning: without effect here: --MAEcp (is for pretrainer.py; trainers take "
        "--previous_dir); --lr (needs --train 1)"
    )


def test_the_table_names_flags():
    names = set(options._defaults(build_parser("trainer.py")))
    assert all(set(entry.flags) <= names and entry.reason for entry in TABLE)
