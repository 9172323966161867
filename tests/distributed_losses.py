"""Trains a tiny lifter without random or per-process parts and prints its loss curve.

Run by test_trainer.py in one process and, under torchrun, in two: dropout is off and batch norm
uses its stored statistics, so that nothing but rounding may differ.
"""

import json
from pathlib import Path

from goldens import filled, without_random_parts
from paths import SAMPLE

from common.cli import configs
from common.cli.entry import run_script
from common.data import h36m
from common.data.skeleton import H36M_17
from common.data.windows import WindowRule
from common.tasks.lifting import Lifting, LiftingTask
from common.training import runtime
from common.training.loop import Training
from common.training.run_folder import RunFolder
from common.training.steps import GradientSteps
from model.lifter import PoseLifter


def main() -> None:
    config = configs.lifting("trainer.py").run
    run = runtime.start(runtime.RuntimeOptions(gpus=[0], seed=1, precision="fp32"))
    files = h36m.H36MFiles.read(SAMPLE, "gt")
    store = files.store(["S6"], H36M_17, actions=["Walking"]).to(run.device)
    lifter = PoseLifter(frames=9, num_joints=17, layers=1, width=16, hidden_width=16)
    lifting = Lifting(without_random_parts(filled(lifter)), None, run)
    rule = WindowRule(9, stride=7, mirror=True)
    task = LiftingTask(lifting, store, rule, test=None, every_frame=True)
    folder = RunFolder(run, config.folder, config.info, train=True, resume=False)
    steps = GradientSteps(task, run, config.schedule)
    training = Training(task, steps, run, config.schedule, folder)
    history = training.run(resume=False)
    if run.is_main:
        Path("losses.json").write_text(json.dumps([record["loss"] for record in history]))


run_script(main)
