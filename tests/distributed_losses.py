"""Trains a tiny lifter without random or per-process parts and prints its loss curve.

Run by test_trainer.py in one process and, under torchrun, in two: dropout is off and batch norm
uses its stored statistics, so that nothing but rounding may differ.
"""

import json
import sys
from pathlib import Path

from goldens import filled, without_dropout
from paths import SAMPLE
from torch import nn

from common.cli import flags as options
from common.cli.entry import run_script
from common.data import h36m
from common.data.windows import WindowRule
from common.tasks.lifting import Lifting, LiftingTask
from common.training import runtime
from common.training.loop import GradientSteps, Schedule, Training
from common.training.run_folder import RunFolder
from model.layers import TokenBatchNorm
from model.lifter import PoseLifter


def main() -> None:
    args = options.parse("trainer.py", sys.argv[1:])
    run = runtime.start(gpus=[], seed=1, precision="fp32")
    files = h36m.H36MFiles.read(str(SAMPLE), "gt")
    store = files.store(["S6"], num_joints=17, actions=["Walking"])
    lifter = PoseLifter(frames=9, num_joints=17, layers=1, width=16, hidden_width=16)
    lifting = Lifting({"no_refine": without_dropout(filled(lifter))}, run)
    TokenBatchNorm.train = lambda self, mode=True: nn.Module.train(self, False)
    rule = WindowRule(9, stride=7, mirror=True)
    task = LiftingTask(lifting, store, rule, test=None, every_frame=True)
    folder = RunFolder(run, **options.run_folder(args))
    schedule = Schedule(**options.schedule(args))
    training = Training(task, GradientSteps(task, run, schedule), run, schedule, folder)
    history = training.run(resume=False)
    if run.is_main:
        Path("losses.json").write_text(json.dumps([record["loss"] for record in history]))


run_script(main)
