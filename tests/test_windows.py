"""Windows: which frames each holds, one by one and in batches, of one store or several."""

import pytest
import torch
from paths import SAMPLE

from common.data import amass, h36m
from common.data.base import DataOptions
from common.data.skeleton import H36M_16
from common.data.windowed_poses import WindowedPoses
from common.data.windows import WindowIndex, WindowRule

OFFSETS = torch.tensor([0, 5, 6, 20])


def naive_windows(offsets, rule, counted=None):
    """Every window one by one, as the specification words it: (frames, mirrored)."""
    past = rule.frames - 1 if rule.causal else (rule.frames - 1) // 2
    for reverse in (False, True) if rule.reverse else (False,):
        for mirror in (False, True) if rule.mirror else (False,):
            for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
                targets = range(start, end, rule.stride)
                if rule.inside:
                    starts = [s for s in range(end - start) if s + rule.frames < end - start - 1]
                    targets = [start + s + past for s in starts[:: rule.stride]]
                for target in targets:
                    if counted is not None and not counted[target]:
                        continue
                    steps = [(k - past) * rule.frame_step for k in range(rule.frames)]
                    if reverse and not rule.inside:
                        steps = [-step for step in steps]  # the past of the reversed sequence
                    frames = [min(max(target + step, start), end - 1) for step in steps]
                    yield (frames[::-1] if reverse and rule.inside else frames), mirror


@pytest.mark.parametrize(
    "rule",
    [
        WindowRule(9),
        WindowRule(27, frame_step=2),
        WindowRule(9, stride=3, mirror=True),
        WindowRule(1, mirror=True, reverse=True),
        WindowRule(9, frame_step=2, stride=2, mirror=True, reverse=True),
        WindowRule(9, inside=True),
        WindowRule(3, stride=2, inside=True, reverse=True),
        WindowRule(9, causal=True),
        WindowRule(9, frame_step=2, stride=2, mirror=True, reverse=True, causal=True),
        WindowRule(3, inside=True, mirror=True, causal=True),
        WindowRule(3, inside=True, reverse=True, causal=True),
    ],
)
@pytest.mark.parametrize("some_count", [False, True])
def test_windows_are_those_of_the_specification(rule, some_count):
    counted = torch.arange(20) % 3 != 1 if some_count else None
    index = WindowIndex(OFFSETS, rule, counted)
    want = list(naive_windows(OFFSETS, rule, counted))
    assert want
    assert len(index) == len(want)
    for sample, (frames, mirrored) in enumerate(want):
        windows = index.windows(torch.tensor([sample]))
        assert windows.frames[0].tolist() == frames
        assert (windows.num_plain == 0) == mirrored
    batch = torch.randperm(len(index), generator=torch.Generator().manual_seed(0))
    windows = index.windows(batch)
    together = [(f, i >= windows.num_plain) for i, f in enumerate(windows.frames.tolist())]
    assert together == [want[sample] for sample in batch[windows.order].tolist()]
    assert sorted(together) == sorted(want)


def test_a_window_never_leaves_its_sequence():
    index = WindowIndex(OFFSETS, WindowRule(243, frame_step=2, mirror=True))
    windows = index.windows(torch.arange(len(index)))
    sequence_of_frame = torch.searchsorted(OFFSETS, windows.frames, right=True) - 1
    assert torch.equal(sequence_of_frame, windows.sequences[:, None].expand_as(sequence_of_frame))


# ---- windows of past frames only


def all_windows(rule):
    """All windows of the sequences of OFFSETS, the reversed ones apart, if there are any."""
    index = WindowIndex(OFFSETS, rule)
    plain, mirrored = len(index) // (1 + rule.reverse), 1 + rule.mirror
    assert plain % mirrored == 0 and plain > 0
    parts = torch.arange(len(index)).split(plain)
    return [index.windows(part) for part in parts]


@pytest.mark.parametrize(
    "rule",
    [
        WindowRule(9, causal=True),
        WindowRule(9, frame_step=3, stride=2, mirror=True, causal=True),
        WindowRule(5, inside=True, causal=True),
        WindowRule(9, frame_step=2, mirror=True, reverse=True, causal=True),
        WindowRule(5, inside=True, reverse=True, causal=True),
    ],
)
def test_causal_windows_end_with_their_target(rule):
    assert rule.target == rule.frames - 1
    plain, *reversed_ones = all_windows(rule)
    assert torch.equal(plain.frames[:, rule.target], plain.targets)
    assert (plain.frames <= plain.targets[:, None]).all()
    assert (plain.frames < plain.targets[:, None]).any()
    assert (plain.frames.diff() >= 0).all()  # in time
    assert len(reversed_ones) == rule.reverse
    for windows in reversed_ones:  # the future, as the past of the reversed sequence
        assert torch.equal(windows.frames[:, rule.target], windows.targets)
        assert (windows.frames >= windows.targets[:, None]).all()
        assert (windows.frames > windows.targets[:, None]).any()
        assert (windows.frames.diff() <= 0).all()


def test_reversed_causal_windows_are_those_of_the_sequence_played_backwards():
    rule = WindowRule(5, frame_step=2, causal=True)
    length = 14
    index = WindowIndex(torch.tensor([0, length]), rule)
    plain = index.windows(torch.arange(length))
    both = WindowIndex(
        torch.tensor([0, length]), WindowRule(5, frame_step=2, causal=True, reverse=True)
    )
    backwards = both.windows(torch.arange(length, 2 * length))
    for frames, target in zip(backwards.frames, backwards.targets.tolist(), strict=True):
        played_backwards = plain.frames[length - 1 - target]
        assert torch.equal(frames, length - 1 - played_backwards)


@pytest.mark.parametrize("causal", [False, True])
def test_windows_inside_their_sequence_hold_no_frame_twice(causal):
    plain, backwards = all_windows(WindowRule(5, inside=True, reverse=True, causal=causal))
    assert (plain.frames.diff() == 1).all()
    assert (backwards.frames.diff() == -1).all()
    assert torch.equal(backwards.frames, plain.frames.flip(1))


def test_centred_windows_have_their_target_in_the_middle():
    (windows,) = all_windows(WindowRule(9))
    assert WindowRule(9).target == 4
    assert torch.equal(windows.frames[:, 4], windows.targets)


# ---- several stores, and the order of a batch


@pytest.fixture(scope="module")
def parts():
    """Windows of two stores: of the first mirrored, of the second inside their sequences."""
    store = h36m.H36MFiles.read(SAMPLE, "gt").store(["S9"], H36M_16)
    amass_store = amass.load(DataOptions(SAMPLE, num_joints=16, train=True, test=False)).train
    return [
        (store, WindowRule(9, frame_step=2, mirror=True)),
        (amass_store, WindowRule(9, inside=True)),
    ]


def test_windows_of_several_stores_are_numbered_through(parts):
    poses = WindowedPoses(parts)
    lengths = parts[1][0].offsets.diff()
    assert len(poses.samples_of(0)) == 2 * parts[0][0].num_frames
    assert len(poses.samples_of(1)) == int((lengths - 10).sum())
    assert len(poses) == len(poses.samples_of(0)) + len(poses.samples_of(1))
    assert poses.frames == 9 and poses.target == 4 and poses.skeleton == H36M_16
    second = poses.samples_of(1)
    samples = torch.tensor([second.start + 3, 5, second.stop - 1])
    chosen = poses.windows(samples)
    # Those of each store together: 5 of the first, then windows 3 and the last of the second.
    alone = WindowIndex(parts[1][0].offsets, parts[1][1])
    windows = alone.windows(torch.tensor([3, len(alone) - 1]))
    assert torch.equal(chosen.window_2d()[1:], parts[1][0].window_2d(windows))
    assert torch.equal(chosen.window_3d()[1:], parts[1][0].window_3d(windows))
    assert chosen.window_3d().shape == (3, 9, 16, 3) and len(chosen) == 3
    assert chosen.order.tolist() == [1, 0, 2]
    names = poses.sequences_of(samples)
    assert names[0].startswith("S9 Climbing") and names[1].startswith("AMASS holosoma")


@pytest.mark.parametrize("reverse", [False, True])
def test_the_order_says_which_sample_each_window_of_a_mirrored_rule_is(reverse):
    rule = WindowRule(9, stride=2, mirror=True, reverse=reverse)
    index = WindowIndex(OFFSETS, rule, torch.arange(20) % 5 != 1)
    samples = torch.randperm(len(index), generator=torch.Generator().manual_seed(1))
    samples = torch.cat([samples, samples[:3]])  # some twice
    windows = index.windows(samples)
    assert windows.order.tolist() != list(range(len(samples)))
    assert sorted(windows.order.tolist()) == list(range(len(samples)))
    for row, place in enumerate(windows.order.tolist()):
        alone = index.windows(samples[place : place + 1])
        assert alone.order.tolist() == [0]
        assert torch.equal(windows.frames[row], alone.frames[0])
        assert windows.targets[row] == alone.targets[0]
        assert windows.sequences[row] == alone.sequences[0]
        assert (row >= windows.num_plain) == (alone.num_plain == 0)


def test_the_order_says_which_sample_each_window_of_several_stores_is(parts):
    poses = WindowedPoses(parts)
    samples = torch.randperm(len(poses), generator=torch.Generator().manual_seed(2))[:60]
    is_second = samples >= poses.samples_of(1).start
    is_mirrored = ~is_second & (samples >= parts[0][0].num_frames)
    assert is_second.any() and is_mirrored.any() and (~is_second & ~is_mirrored).any()
    chosen = poses.windows(samples)
    assert chosen.order.tolist() != list(range(60))
    assert sorted(chosen.order.tolist()) == list(range(60))
    together = chosen.window_2d(), chosen.window_3d(), chosen.absolute_3d()
    for row, place in enumerate(chosen.order.tolist()):
        alone = poses.windows(samples[place : place + 1])
        assert alone.order.tolist() == [0]
        apart = alone.window_2d(), alone.window_3d(), alone.absolute_3d()
        for batch, single in zip(together, apart, strict=True):
            assert torch.equal(batch[row], single[0])


def test_cameras_follow_the_order_too(parts):
    poses = WindowedPoses([parts[0], parts[0]])
    samples = torch.randperm(len(poses), generator=torch.Generator().manual_seed(3))[:40]
    chosen = poses.windows(samples)
    for row, place in enumerate(chosen.order.tolist()):
        alone = poses.windows(samples[place : place + 1])
        assert torch.equal(chosen.cameras()[row], alone.cameras()[0])


def test_absolute_poses_are_those_of_the_camera_space(parts):
    (store, _), *_ = parts
    poses = WindowedPoses([(store, WindowRule(9, mirror=True))])
    samples = torch.tensor([7, 7 + store.num_frames])  # a window and its mirror image
    plain, mirrored = poses.windows(samples).absolute_3d()
    frames = torch.arange(3, 12)
    want = store.pose_3d[frames] + store.root_3d[frames, None]
    assert torch.equal(plain, want) and want[:, 0, 2].min() > 1  # metres before the camera
    assert torch.equal(mirrored[:, 0, 0], -want[:, 0, 0])
