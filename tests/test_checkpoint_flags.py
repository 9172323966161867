"""Flags that the command line leaves open are taken from the checkpoint that it loads."""

import pytest
import torch
from goldens import save_released
from paths import GOLDEN

from common.cli import configs, options
from common.errors import UserError
from common.training.checkpoint import released_format, save_torch
from model.build import ModelSize, build_lifter, build_masked_model

SMALL = GOLDEN / "ckpt" / "small_lift.pth"  # -f 27 --layers 3 --n_joints 17, width 64
OTHER = ModelSize(frames=81, num_joints=16, layers=2, width=32, hidden_width=48)


def read(words: str, script: str = "trainer.py"):
    return options.read(script, words.split())[0]


@pytest.mark.parametrize("flag", ["--reload 1", "--MAEreload 1 --train 1"])
def test_sizes_come_from_the_shapes(flag, caplog):
    caplog.set_level("INFO", "mpm")
    args = read(f"{flag} --previous_dir {SMALL}")
    sizes = args.frames, args.layers, args.n_joints, args.channel, args.d_hid
    assert sizes == (27, 3, 17, 64, 128)
    assert args.pad == 13 and "_f27_" in args.checkpoint
    # One line names what was taken; what equals the default is not worth a word.
    (line,) = [r.getMessage() for r in caplog.records if str(SMALL) in r.getMessage()]
    assert line.endswith("--frames 27 --n_joints 17 --channel 64 --d_hid 128")


def test_what_was_said_is_kept_and_a_difference_is_an_error():
    args = read(f"--reload 1 --previous_dir {SMALL} -f 243 --layers 4")
    assert (args.frames, args.layers, args.channel) == (243, 4, 64)
    config = configs.lifting("trainer.py", f"--reload 1 --previous_dir {SMALL} -f 243".split())
    lifter = build_lifter(config.backbone, config.run.model_size)
    with pytest.raises(UserError, match="checkpoint holds 27 frames, --frames says 243"):
        config.run.first_weights.load_into(lifter)


def test_every_size_of_either_model_is_found(tmp_path):
    for number, model in enumerate(
        (build_lifter("mpm", OTHER), build_masked_model(OTHER, decoder_depth=1))
    ):
        path = save_released(model, tmp_path / f"{number}.pth")
        script, flag = ("trainer.py", "previous_dir") if number == 0 else ("pretrainer.py", "MAEcp")
        args = read(f"--MAEreload 1 --{flag} {path} --poseaug 0", script)
        assert (args.frames, args.n_joints, args.layers) == (81, 16, 2)
        assert (args.channel, args.d_hid) == (32, 48)


def test_files_of_ours_also_say_what_no_shape_does(tmp_path):
    record = {"t_downsample": 2, "causal": 1, "backbone": "mpm", "frames": 9, "layers": "many"}
    path = tmp_path / "x.pth"
    save_torch(path, released_format(build_lifter("mpm", OTHER), record))
    args = read(f"--reload 1 --previous_dir {path}")
    assert (args.t_downsample, args.causal) == (2, 1)
    assert (args.frames, args.layers) == (81, 2)  # shapes decide what shapes can tell
    assert read(f"--reload 1 --previous_dir {path} -tds 3").t_downsample == 3
    # A pre-trained encoder may go into another kind of lifter.
    assert read(f"--MAEreload 1 --previous_dir {path}").causal == 0


@pytest.mark.parametrize("value", ["2", None, [2], True, 2.0, {"a": 1}])
def test_values_of_the_wrong_type_in_a_record_are_ignored(tmp_path, value):
    path = tmp_path / "x.pth"
    save_torch(path, released_format(build_lifter("mpm", OTHER), {"t_downsample": value}))
    assert read(f"--reload 1 --previous_dir {path}").t_downsample == 1


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"backbone": "other"}, "--backbone other: .* invalid choice: 'other'"),
        ({"causal": 7}, "--causal 7: .* invalid choice: 7"),
        ({"t_downsample": -1}, "--t_downsample -1: .* is below 1"),
    ],
)
def test_invalid_values_in_a_record_are_named(tmp_path, record, complaint):
    path = tmp_path / "x.pth"
    save_torch(path, released_format(build_lifter("mpm", OTHER), record))
    with pytest.raises(UserError, match=f"x.pth asks for .*{complaint}"):
        read(f"--reload 1 --previous_dir {path}")


def test_a_resumed_run_needs_no_checkpoint_beside_its_own(tmp_path):
    state = build_lifter("mpm", OTHER)
    path = save_released(state, tmp_path / "x.pth")
    words = f"--train 1 --name t -r --MAEreload 1 --previous_dir {path}"
    args, weights = options.read("trainer.py", words.split())
    assert args.frames == 81 and weights.matching is None
    path.unlink()
    assert options.read("trainer.py", words.split())[0].frames == 243


def test_weight_files_carry_the_record(tmp_path):
    config = configs.lifting("trainer.py", "--train 1 -f 27 --causal 1 -tds 2".split())
    record = config.run.info.model_record
    assert record["frames"] == 27 and record["causal"] == 1 and record["t_downsample"] == 2
    state = released_format(torch.nn.Linear(1, 1), record)
    save_torch(tmp_path / "x.pth", state)
    loaded = torch.load(tmp_path / "x.pth", weights_only=True)
    assert list(loaded) == ["module.weight", "module.bias"]
