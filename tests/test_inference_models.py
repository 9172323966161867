"""Models from their files alone: what a record tells, what is assumed, what is refused."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from inference_inputs import COMPLETER, FPS, LIFTER, MASKED, sample_pixels, sample_size, write_model

from common.cli import configs
from common.data.camera import NORMALISATIONS
from common.errors import FailedRun, UserError
from common.inference import export, lift_keypoints, load_model
from common.inference.completion import load_completion
from common.inference.export import export_model
from common.inference.model_info import read_info
from common.inference.models import model_input
from common.inference.motion import PinholeCamera
from common.inference.onnx_model import load_onnx
from common.training.checkpoint import released_format, save_torch


def test_a_published_file_is_taken_for_what_the_published_commands_train():
    info = load_model(LIFTER, device="cpu").info
    assert (info.kind, info.rule.frames, info.rule.frame_step, info.rule.target) == (
        *("lifter", 27, 2),
        13,
    )
    assert info.frame_rate == 50 and len(info.assumed) == 2
    assert info.seconds[0] == pytest.approx(-0.52) and info.seconds[13] == 0
    assert load_model(MASKED, device="cpu").info.hides_joints


def test_the_record_of_a_training_decides(tmp_path):
    command = "--train 1 -f 9 --causal 1 -tds 3 --downsample 2 --n_joints 17"
    record = configs.lifting("trainer.py", command.split()).run.info.model_record
    path = write_model(tmp_path / "x.pth", "lifter", **{**record, "frames": 9})
    info = load_model(path, device="cpu").info
    assert info.rule.causal and info.rule.target == 8 and info.assumed == ()
    assert info.rule.frame_step == 3 and info.frame_rate == 25
    assert info.seconds[-1] == 0 and info.seconds[0] == pytest.approx(-8 * 3 / 25)


def test_the_task_of_a_masked_training_is_recorded():
    words = "--MAE --train 1 -f 9 --n_joints 17 -k gt --dataset h36m".split()
    for task in ("comp3d", "comp2dlift", "onlylift"):
        config = configs.masked([*words, f"--{task}", "1"])
        assert config.run.info.model_record["task"] == task
    rates = [
        configs.masked(["--MAE", "--train", "1", "-tds", "2", "--dataset", name, *rest])
        for name, rest in (("h36m", []), ("amass", []), ("3dhp", []))
    ]
    records = [config.run.info.model_record for config in rates]
    assert [(r["frame_rate"], r["frame_step"]) for r in records] == [(50, 2), (25, 1), (25, 1)]


def test_a_model_for_something_else_is_refused(tmp_path):
    completer = write_model(tmp_path / "c.pth", "masked", task="comp3d")
    with pytest.raises(UserError, match="trained for 'comp3d'; lifting needs"):
        load_model(completer)
    lifting = write_model(tmp_path / "l.pth", "masked", task="comp2dlift")
    with pytest.raises(UserError, match="trained for 'comp2dlift'; --complete needs"):
        load_completion(lifting)
    with pytest.raises(UserError, match="a lifter; --complete needs"):
        load_completion(LIFTER)
    assert load_completion(COMPLETER).info.kind == "masked"


def test_without_a_default_model_the_remedy_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("common.inference.models.DEFAULT_MODEL", tmp_path / "none.pth")
    with pytest.raises(UserError, match="no none.pth .*--model weights.pth"):
        load_model()


@pytest.mark.parametrize(
    "record",
    [
        {"frame_rate": 0},
        {"frame_rate": -5.0},
        {"frame_rate": float("nan")},
        {"frame_rate": "50"},
        {"frame_rate": [50]},
        {"frame_step": 0},
        {"frame_step": 1.5},
        {"t_downsample": 10**9},
        {"model": "other"},
        {"model": ["lifter"]},
        {"normalise": "by moonlight"},
        {"normalise": {"a": 1}},
        {"task": ["lift"]},
        {"task": "comp3d"},
    ],
    ids=str,
)
def test_a_record_that_makes_no_sense_is_one_line(tmp_path, record):
    path = write_model(tmp_path / "x.pth", "lifter")
    content = torch.load(path, weights_only=True)
    content._metadata["mpm"].update(record)
    torch.save(content, path)
    with pytest.raises(UserError, match="x.pth"):
        load_model(path, device="cpu")


def test_the_user_decides_about_the_rate(tmp_path):
    info = load_model(LIFTER, device="cpu", rate=10).info
    assert info.seconds[0] == pytest.approx(-1.3) and info.assumed == ()


def test_files_that_hold_no_model(tmp_path):
    save_torch(tmp_path / "x.pth", released_format(torch.nn.Linear(2, 2)))
    with pytest.raises(UserError, match="neither a lifter nor a masked model"):
        load_model(tmp_path / "x.pth")
    with pytest.raises(UserError, match="no such"):
        load_model(tmp_path / "absent.pth")
    with pytest.raises(UserError, match="no such device"):
        load_model(LIFTER, device="abacus")


# ---- ONNX


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "frames", "joints"),
    [("lifter", 1, 17), ("lifter", 27, 17), ("lifter", 81, 16), ("masked", 27, 17)],
)
def test_exported_models_compute_the_same(tmp_path, kind, frames, joints):
    weights = write_model(
        *(tmp_path / "x.pth", kind),
        **{"frames": frames, "joints": joints, "frame_rate": 50.0, "frame_step": 2},
        **({"task": "comp2dlift"} if kind == "masked" else {"causal": 1}),
    )
    info, difference = export_model(weights, tmp_path / "x.onnx")
    assert 0 <= difference < 1e-4
    loaded, _ = load_onnx(tmp_path / "x.onnx")
    same = ("kind", "task", "rule", "frame_rate", "skeleton", "normalisation")
    assert all(getattr(loaded, name) == getattr(info, name) for name in same)


@pytest.mark.slow
@pytest.mark.parametrize("weights", [LIFTER, MASKED], ids=lambda path: path.stem)
def test_lifting_with_onnx_is_lifting_with_pytorch(tmp_path, weights):
    export_model(weights, tmp_path / "x.onnx")
    pixels, size = sample_pixels()[:60].copy(), sample_size()
    pixels[20:24, 5] = np.nan
    poses = [
        lift_keypoints(pixels, size=size, fps=FPS, model=model).poses_3d
        for model in (load_model(weights), load_model(onnx=tmp_path / "x.onnx"))
    ]
    assert np.abs(poses[0] - poses[1]).max() < 1e-4


@pytest.mark.slow
def test_a_model_that_fails_when_it_runs_is_named(tmp_path):
    export_model(LIFTER, tmp_path / "x.onnx")
    info, network = load_onnx(tmp_path / "x.onnx")
    poses = torch.zeros(1, info.rule.frames, info.skeleton.num_joints + 1, 2)
    with pytest.raises(UserError, match="x.onnx: the model does not run"):
        network(poses, None, torch.arange(info.rule.frames)[None])


@pytest.mark.slow
def test_onnx_files_that_are_not_ours(tmp_path):
    export_model(LIFTER, tmp_path / "x.onnx")
    model = onnx.load(tmp_path / "x.onnx")
    entry = model.metadata_props[-1]
    for value in ("", "[]", "{}", "{" * 10**5, '{"model": "lifter", "frames": 9, "n_joints": 17}'):
        entry.value = value
        onnx.save(model, tmp_path / "y.onnx")
        with pytest.raises(UserError, match="y.onnx"):
            load_onnx(tmp_path / "y.onnx")
    (tmp_path / "z.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="not an ONNX model"):
        load_onnx(tmp_path / "z.onnx")
    with pytest.raises(UserError, match="no such file"):
        load_onnx(tmp_path / "absent.onnx")


def test_pixels_in_the_input_space_of_a_model():
    """The same joints filmed upright, on their side, and from as far with another lens."""
    rays = torch.randn(5, 17, 2, generator=torch.Generator().manual_seed(0)) * 0.2
    wide, long = (
        PinholeCamera((1000, 500), (focal, focal), (510.0, 240.0)) for focal in (400.0, 900.0)
    )
    upright = PinholeCamera((500, 1000), (400.0, 400.0), (250.0, 500.0))
    shown = [rays * c.focal[0] + torch.tensor(c.centre) for c in (wide, long, upright)]
    info = load_model(LIFTER, device="cpu").info
    inputs = {
        how: [
            model_input(pixels, camera, replace(info, normalisation=how))
            for pixels, camera in zip(shown, (wide, long, upright), strict=True)
        ]
        for how in NORMALISATIONS
    }
    for found in inputs["rays"]:
        assert torch.allclose(found, rays, atol=1e-5)
    assert torch.allclose(inputs["width"][0], shown[0] / 500 - torch.tensor([1, 0.5]), atol=1e-5)
    assert torch.equal(inputs["width"][0], inputs["longer"][0])
    assert torch.allclose(inputs["width"][2], shown[2] / 250 - torch.tensor([1, 2.0]), atol=1e-5)
    assert torch.allclose(inputs["longer"][2], shown[2] / 500 - torch.tensor([0.5, 1]), atol=1e-5)


def test_every_normalisation_of_a_record_has_a_name():
    record = {"model": "lifter", "frames": 9, "n_joints": 17}
    assert read_info(record, LIFTER).normalisation in NORMALISATIONS


@pytest.mark.slow
def test_an_export_that_computes_something_else_leaves_the_file_that_was_there(
    tmp_path, monkeypatch
):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"earlier")
    monkeypatch.setattr(export, "largest_difference", lambda *_: float("nan"))
    with pytest.raises(FailedRun, match="x.onnx would differ"):
        export_model(LIFTER, path)
    assert path.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [path]
