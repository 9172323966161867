"""Weight files: whole and partial loads, what they say of their model; they run nothing."""

import pickle
import random
from collections.abc import Mapping

import pytest
import torch
from goldens import filled
from hostile import touches
from paths import GOLDEN
from runs import assert_same_tensors
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from common.errors import UserError
from common.training.checkpoint import (
    FirstWeights,
    WeightFile,
    load_matching,
    load_whole,
    released_format,
    save_torch,
)
from model.lifter import PoseLifter


def tiny_lifter(**sizes) -> PoseLifter:
    base = {"frames": 9, "num_joints": 17, "layers": 2, "width": 16, "hidden_width": 8}
    return PoseLifter(**{**base, **sizes})


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_pos"])
def test_released_files_load_flat_or_wrapped(tmp_path, prefix, wrapper):
    model, copy = filled(tiny_lifter()), tiny_lifter()
    state = {prefix + name: t for name, t in model.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "x.pth")
    load_whole(copy, WeightFile.load(tmp_path / "x.pth"))
    for name, tensor in copy.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_saved_weights_are_in_the_released_format(tmp_path):
    model = tiny_lifter()
    save_torch(tmp_path / "x.pth", released_format(model))
    state = torch.load(tmp_path / "x.pth", weights_only=True)
    assert list(state) == [f"module.{name}" for name in model.state_dict()]


RECORD = {"t_downsample": 2, "causal": 1, "backbone": "mpm", "share": 0.5, "limbs": None}


def test_the_record_of_a_model_travels_with_its_weights(tmp_path):
    model = filled(tiny_lifter())
    save_torch(tmp_path / "x.pth", released_format(model, RECORD))
    file = WeightFile.load(tmp_path / "x.pth")
    assert file.record == RECORD and file.path == tmp_path / "x.pth"
    assert_same_tensors(file.state, model.state_dict())


def test_other_readers_see_tensors_only(tmp_path):
    model, copy = filled(tiny_lifter()), tiny_lifter()
    save_torch(tmp_path / "x.pth", released_format(model, RECORD))
    content = torch.load(tmp_path / "x.pth", weights_only=True)
    assert isinstance(content, Mapping)
    assert list(content) == [f"module.{name}" for name in model.state_dict()]
    assert {type(value) for value in content.values()} == {torch.Tensor}
    state = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    copy.load_state_dict(state)
    assert_same_tensors(copy.state_dict(), model.state_dict())
    # As PyTorch itself does: through nn.DataParallel, and by its function that strips the prefix.
    nn.DataParallel(tiny_lifter()).load_state_dict(content)
    consume_prefix_in_state_dict_if_present(content, "module.")
    copy = tiny_lifter()
    copy.load_state_dict(content)
    assert_same_tensors(copy.state_dict(), model.state_dict())


def with_metadata(metadata):
    state = released_format(tiny_lifter())
    state._metadata = metadata
    return state


@pytest.mark.parametrize(
    "content",
    [
        released_format(tiny_lifter()),
        released_format(tiny_lifter(), {}),
        tiny_lifter().state_dict(),  # PyTorch's own metadata, of no interest here
        dict(released_format(tiny_lifter(), RECORD)),
        with_metadata("no dictionary"),
        with_metadata({"mpm": [1, 2]}),
    ],
    ids=["none", "empty", "PyTorch's", "lost", "no dictionary", "of another kind"],
)
def test_files_without_a_record(tmp_path, content):
    save_torch(tmp_path / "x.pth", content)
    file = WeightFile.load(tmp_path / "x.pth")
    assert file.record == {} and list(file.state) == list(tiny_lifter().state_dict())


def test_a_weight_file_tells_the_flags_of_its_model(tmp_path):
    save_torch(tmp_path / "x.pth", released_format(tiny_lifter()))
    flags = {"frames": 9, "n_joints": 17, "layers": 2, "channel": 16, "d_hid": 8}
    assert WeightFile.load(tmp_path / "x.pth").flags() == flags


def test_first_weights_are_whole_or_matching_or_none(tmp_path, caplog):
    caplog.set_level("INFO", "mpm")
    model = filled(tiny_lifter())
    save_torch(tmp_path / "x.pth", released_format(model))
    file = WeightFile.load(tmp_path / "x.pth")
    untouched = tiny_lifter()
    before = {name: tensor.clone() for name, tensor in untouched.state_dict().items()}
    FirstWeights().load_into(untouched)
    assert_same_tensors(untouched.state_dict(), before)
    for weights, reported in (
        (FirstWeights(whole=file), ""),
        (FirstWeights(matching=file), "x.pth"),
    ):
        copy = tiny_lifter()
        weights.load_into(copy)
        assert_same_tensors(copy.state_dict(), model.state_dict())
        assert reported in caplog.text and bool(reported) == bool(caplog.text)


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"layers": 3}, "checkpoint holds 2 layers, --layers says 3"),
        ({"layers": 1}, "checkpoint holds 2 layers, --layers says 1"),
        ({"frames": 27}, "checkpoint holds 9 frames, --frames says 27"),
        ({"num_joints": 16}, "checkpoint holds 17 joints, --n_joints says 16"),
        ({"width": 32}, "checkpoint holds 16 channels, --channel says 32"),
        ({"hidden_width": 16}, "checkpoint holds 8 feed-forward channels, --d_hid says 16"),
    ],
)
def test_a_model_of_another_size_is_told_in_flags(tmp_path, sizes, complaint):
    save_torch(tmp_path / "x.pth", released_format(tiny_lifter()))
    with pytest.raises(UserError, match=complaint):
        load_whole(tiny_lifter(**sizes), WeightFile.load(tmp_path / "x.pth"))


def test_a_whole_load_names_what_does_not_fit(tmp_path):
    state = released_format(tiny_lifter())
    del state["module.fcn.1.bias"]
    state["module.extra"] = torch.zeros(3)
    state["module.fcn_1.1.bias"] = torch.zeros(7)
    save_torch(tmp_path / "x.pth", state)
    with pytest.raises(UserError) as raised:
        load_whole(tiny_lifter(), WeightFile.load(tmp_path / "x.pth"))
    text = str(raised.value)
    assert "1 missing: fcn.1.bias" in text
    assert "1 unexpected: extra" in text
    assert "1 of another shape: fcn_1.1.bias 7 for 51" in text


def test_a_partial_load_reports_and_fails_when_nothing_matches(tmp_path):
    pre_trained = nn.Module()
    pre_trained.encoder2d = filled(tiny_lifter()).encoder2d
    pre_trained.other = nn.Linear(3, 3)
    save_torch(tmp_path / "x.pth", released_format(pre_trained))
    model = tiny_lifter()
    report = load_matching(model, WeightFile.load(tmp_path / "x.pth"))
    assert f"loaded 7 of the model's {len(model.state_dict())} tensors" in report
    assert (
        "encoder2d 7/7" in report
        and "fcn 0/7" in report
        and "; 2 of the file's are unused" in report
    )
    assert torch.equal(model.encoder2d.fc_1.weight, pre_trained.encoder2d.fc_1.weight)
    save_torch(tmp_path / "y.pth", {"module.other.weight": torch.zeros(3)})
    with pytest.raises(UserError, match="none of its 1 tensors fits"):
        load_matching(model, WeightFile.load(tmp_path / "y.pth"))


@pytest.mark.parametrize("kind", ["directory", "missing", "picture", "cut", "no state", "empty"])
def test_files_that_are_no_checkpoints(tmp_path, kind):
    path, whole = tmp_path / "x.pth", (GOLDEN / "ckpt" / "small_lift.pth").read_bytes()
    if kind == "directory":
        path.mkdir()
    elif kind == "no state":
        torch.save([1, 2], path)
    elif kind != "missing":
        damaged = {"picture": b"\x89PNG\r\n\x1a\n" + bytes(99), "cut": whole[:99999], "empty": b""}
        path.write_bytes(damaged[kind])
    with pytest.raises(UserError) as raised:
        WeightFile.load(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch's word on its way to refusal
def test_a_hostile_checkpoint_runs_nothing(tmp_path):
    victim = tmp_path / "victim"
    torch.save({"module.x": touches(victim)}, tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes(pickle.dumps(touches(victim)))
    for name in ("x.pth", "y.pth"):
        with pytest.raises(UserError) as raised:
            WeightFile.load(tmp_path / name)
        assert "\n" not in str(raised.value)
    assert not victim.exists()
    torch.load(tmp_path / "x.pth", weights_only=False)  # the payload is a real one
    assert victim.exists()


# ---- names and wrappers of other programs

PREFIXES = ["module.", "_orig_mod.", "model.", "net."]
KEYS = ["state_dict", "model_state_dict", "model", "net", "module", "ema", "lifter", "checkpoint"]


@pytest.mark.parametrize("seed", range(40))
def test_names_and_wrappers_in_any_order(tmp_path, seed):
    source = random.Random(seed)
    model, copy, partly = filled(tiny_lifter()), tiny_lifter(), tiny_lifter()
    prefix = "".join(source.choices(PREFIXES, k=source.randint(0, 4)))
    content = {prefix + name: t for name, t in model.state_dict().items()}
    for key in source.sample(KEYS, k=source.randint(0, 5)):
        others = {"epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
        content = {**source.choice([others, {}]), key: content}
    save_torch(tmp_path / "x.pth", content)
    file = WeightFile.load(tmp_path / "x.pth")
    assert file.flags() == {"frames": 9, "n_joints": 17, "layers": 2, "channel": 16, "d_hid": 8}
    load_whole(copy, file)
    assert_same_tensors(copy.state_dict(), model.state_dict())
    assert "0 of the file's are unused" in load_matching(partly, file)


def test_a_model_with_parts_of_such_names_keeps_them(tmp_path):
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.model = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 3))

    model, copy = filled(Other()), Other()
    for prefix in ("", "module.", "net.", "model.module."):
        state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
        save_torch(tmp_path / "x.pth", state)
        load_whole(copy, WeightFile.load(tmp_path / "x.pth"))
        assert_same_tensors(copy.state_dict(), model.state_dict())


def test_several_state_dicts_are_no_choice_of_ours(tmp_path):
    state = tiny_lifter().state_dict()
    save_torch(tmp_path / "x.pth", {"generator": state, "critic": state})
    with pytest.raises(UserError, match="holds no state dict, but generator, critic"):
        WeightFile.load(tmp_path / "x.pth")


def test_batches_need_not_be_counted(tmp_path):
    model, copy = filled(tiny_lifter()), tiny_lifter()
    state = {n: t for n, t in model.state_dict().items() if "num_batches_tracked" not in n}
    assert len(state) < len(model.state_dict())
    save_torch(tmp_path / "x.pth", state)
    load_whole(copy, WeightFile.load(tmp_path / "x.pth"))
    assert_same_tensors({n: copy.state_dict()[n] for n in state}, state)
