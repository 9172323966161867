"""The command line is a contract: names, short forms, types and defaults of SPEC section 1."""

import argparse

import pytest

from common.cli import configs, options
from common.data.windows import WindowRule
from common.errors import UserError

SCRIPTS = ("trainer.py", "trainer_3dhp.py", "pretrainer.py")

INFINITE = float("inf")
PUBLISHED = {
    # flags: (destination, default, a value as text, the value)
    "--layers": ("layers", 3, "4", 4),
    "--channel": ("channel", 256, "64", 64),
    "--d_hid": ("d_hid", 512, "128", 128),
    "--dataset": ("dataset", "h36m", "h36m,3dhp", "h36m,3dhp"),
    "-k --keypoints": ("keypoints", "cpn_ft_h36m_dbb", "gt", "gt"),
    "--data_augmentation": ("data_augmentation", True, "false", False),
    "--reverse_augmentation": ("reverse_augmentation", False, "1", True),
    "--test_augmentation": ("test_augmentation", False, "True", True),
    "--crop_uv": ("crop_uv", 0, "1", 1),
    "--root_path": ("root_path", "./dataset/", "x", "x"),
    "-a --actions": ("actions", "*", "Walk,Eat", "Walk,Eat"),
    "--downsample": ("downsample", 1, "2", 2),
    "--subset": ("subset", 1.0, "0.5", 0.5),
    "-s --stride": ("stride", 1, "3", 3),
    "--gpu": ("gpu", [0, 1], "2,3", [2, 3]),
    "--train": ("train", 0, "1", 1),
    "--test": ("test", 1, "0", 0),
    "--nepoch": ("nepoch", 50, "3", 3),
    "-b --batchSize": ("batchSize", 160, "1024", 1024),
    "--lr": ("lr", 1e-3, "0.0007", 0.0007),
    "-lrd --lr_decay": ("lr_decay", 0.95, "0.97", 0.97),
    "--lr_decay_large": ("lr_decay_large", 0.5, "0.4", 0.4),
    "--large_decay_epoch": ("large_decay_epoch", 60, "5", 5),
    "--lr_refine": ("lr_refine", 1e-5, "0.1", 0.1),
    "--workers": ("workers", 8, "0", 0),
    "-f --frames": ("frames", 243, "351", 351),
    "--pad": ("pad", 121, "7", 121),
    "--refine_reload": ("refine_reload", 0, None, None),
    "--previous_refine_name": ("previous_refine_name", "", "x.pth", "x.pth"),
    "--reload": ("reload", 0, None, None),
    "--previous_dir": ("previous_dir", "", "x.pth", "x.pth"),
    "--MAEreload": ("MAEreload", 0, None, None),
    "--MAEcp": ("MAEcp", "", "x.pth", "x.pth"),
    "-c --checkpoint": ("checkpoint", "checkpoint/finetune_test_f243_t0.80", None, None),
    "--n_joints": ("n_joints", 16, "17", 17),
    "--out_all": ("out_all", 1, "0", 0),
    "--in_channels": ("in_channels", 2, "2", 2),
    "--out_channels": ("out_channels", 3, "3", 3),
    "-previous_best_threshold": ("previous_best_threshold", INFINITE, "40.5", 40.5),
    "-previous_name": ("previous_name", "", "x", "x"),
    "--manualSeed": ("manualSeed", 1, "5", 5),
    "-tmr --temporal_mask_rate": ("temporal_mask_rate", 0.8, "0.6", 0.6),
    "-smn --spatial_mask_num": ("spatial_mask_num", 2, "5", 5),
    "-tds --t_downsample": ("t_downsample", 1, "2", 2),
    "--dim": ("dim", 2, "3", 3),
    "--vis": ("vis", 0, "1", 1),
    "--frozen": ("frozen", 0, "1", 1),
    "--model": ("model", "", "MAE", "MAE"),
    "--debug": ("debug", 0, "1", 1),
    "--name": ("name", "", "task", "task"),
    "--onlylift": ("onlylift", 0, "1", 1),
    "--comp3d": ("comp3d", 0, "1", 1),
    "--comp2dlift": ("comp2dlift", 0, "1", 1),
    "--poseaug": ("poseaug", 0, "1", 1),
    "--ba_range_m": ("ba_range_m", 0.155, "0.2", 0.2),
    "--ba_range_w": ("ba_range_w", 0.125, "0.2", 0.2),
    "--blr_tanhlimit": ("blr_tanhlimit", 0.15, "0.2", 0.2),
    "--blr_limit": ("blr_limit", 0.1, "0.2", 0.2),
    "--mask_manner3D": ("mask_manner3D", "0,1,2,3,6", "0", "0"),
    "--mask_manner2D": ("mask_manner2D", "0,1,2,3,9", "2", "2"),
}


def read(script: str, words: list[str]) -> argparse.Namespace:
    """The options that a command line stands for."""
    return options.read(script, words)[0]


@pytest.mark.parametrize("flags", PUBLISHED)
def test_published_flags(flags):
    destination, default, text, value = PUBLISHED[flags]
    script = "pretrainer.py" if flags == "--dataset" else "trainer.py"
    assert vars(read(script, []))[destination] == default
    for flag in flags.split() if text is not None else ():
        assert vars(read(script, [flag, text]))[destination] == value


@pytest.mark.parametrize("flag", ["--refine", "--MAE", "-r", "--resume"])
def test_published_switches(flag):
    destination = {"-r": "resume"}.get(flag, flag.lstrip("-"))
    assert vars(read("trainer.py", []))[destination] is False
    assert vars(read("trainer.py", [flag]))[destination] is True


@pytest.mark.parametrize("text", ["True", "true", "1", "False", "false", "0"])
def test_booleans_mean_what_they_say(text):
    args = read("trainer.py", ["--data_augmentation", text])
    assert args.data_augmentation is (text in ("True", "true", "1"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("-f 243 k gt", "unknown argument 'k gt'; did you mean '-k gt'?"),
        ("-f 100", "choose from 1, 9, 27, 81, 243, 351"),
        ("--n_joints 18", "choose from 16, 17"),
        ("--data_augmentation maybe", "neither True nor False"),
        ("--channel 250", "--channel 250 is not a multiple of 8"),
        ("--lr -1", "is not a number above 0"),
        ("--nepoch zero", "invalid"),
        ("--subset 0", "above 0 and at most 1"),
        ("-tmr 1", "from 0 to below 1"),
        ("--gpu a", "not a comma list"),
        ("--batch 5", "unknown argument '--batch 5'"),
        ("--reload 1", "--reload 1 needs a path"),
        ("--MAEreload 1", "--MAEreload 1 needs a path"),
        ("--save_predictions x.csv", "must end in .npz"),
        ("--save_predictions no/such/x.npz", "no such folder"),
        ("--train 1 --name a/b", "holds no slash"),
        ("--dataset amass", "one data set that has test poses, h36m or 3dhp"),
        ("--dataset h36m,3dhp", "a lifter trains on one data set that has test poses"),
        ("--dataset h36m,cmu", "is not a comma list of h36m, 3dhp, amass, each once"),
        ("--dataset_weights 1,0", "is not a number above 0"),
        ("-previous_best_threshold nan", "nan is not a number"),
        ("--blr_tanhlimit inf", "inf is not a finite number"),
        ("-b 99999999999", "99999999999 is above 2147483647"),
        ("--dim -99999999999", "is below -2147483647"),
        ("--layers 257", "257 is above 256"),
        ("--layers 256 --channel 65536 --d_hid 262144", "need more memory than this machine has"),
        ("--channel 999999999", "is above 65536"),
        ("--d_hid " + "9" * 5000, "argument --d_hid"),
    ],
)
def test_mistakes(words, complaint):
    with pytest.raises(UserError) as raised:
        read("trainer.py", words.split())
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("-lr 0.0005", "--lr 0.0005"),
        ("-l 3", "--layers 3"),
        ("-td 2", "-tds 2"),
        ("-tm 0.5", "-tmr 0.5"),
        ("-cpn", "-c pn"),
        ("-b1024", "-b 1024"),
    ],
)
def test_one_dash_words_are_not_completed(script, words, meant):
    with pytest.raises(UserError) as raised:
        read(script, words.split())
    message = str(raised.value)
    assert message.startswith(f"unknown argument '{words}'; did you mean '{meant}'")
    assert script in message and "\n" not in message


@pytest.mark.parametrize(
    ("script", "words", "name"),
    [
        ("trainer.py", "", "h36m"),
        ("trainer.py", "--dataset 3dhp", "3dhp"),
        ("trainer_3dhp.py", "", "3dhp"),
        ("trainer_3dhp.py", "--dataset h36m", "3dhp"),
    ],
)
def test_the_data_set_of_a_lifter(script, words, name):
    assert configs.lifting(script, words.split()).data_set.name == name


def test_the_windows_of_a_run():
    words = "-f 27 -tds 2 -s 3 --reverse_augmentation True".split()
    for causal in ("0", "1"):
        run = configs.lifting("trainer.py", [*words, "--causal", causal]).run
        assert run.windows == WindowRule(27, frame_step=2, causal=causal == "1")
        assert run.training_windows == WindowRule(
            27, frame_step=2, stride=3, mirror=True, reverse=True, causal=causal == "1"
        )
        assert run.info.options["causal"] == int(causal)
    assert configs.masked(["--MAE", "--causal", "1"]).run.windows.causal
    assert read("trainer.py", []).causal == 0


@pytest.mark.parametrize(
    ("script", "words"),
    [("trainer_3dhp.py", "-a Walk"), ("pretrainer.py", "--MAE --dataset 3dhp,amass -a Walk")],
)
def test_actions_are_those_of_human36m(script, words):
    with pytest.raises(UserError, match="--actions Walk: only Human3.6M's sequences"):
        read(script, words.split())
    read("pretrainer.py", "--MAE --dataset h36m,3dhp -a Walk".split())


@pytest.mark.parametrize("script", SCRIPTS)
def test_demo_only_presets_flags(script):
    demo = read(script, ["--demo", "--nepoch", "2"])
    assert demo.nepoch == 2  # the user's own flags win
    words = demo.command.split()[2:]
    again = read(script, words)
    assert vars(again) == vars(demo)


def test_the_folder_of_a_run():
    args = read("trainer.py", "--train 1 --name task -f 27 -tmr 0.6".split())
    assert args.checkpoint == "checkpoint/finetune_task_f27_t0.60"
    assert read("trainer.py", ["--name", "task"]).checkpoint.endswith("_test_f243_t0.80")
    args = read("pretrainer.py", "--train 1 --name task --MAE".split())
    assert args.checkpoint == "checkpoint/pretrain_task_f243_t0.80"
