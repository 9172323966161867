"""Losses and the pool of adversarial training against their definition."""

import math

import numpy as np
import pytest
import torch
from poseaug import rng

from Augpart import adversarial


def naive_outside(values, centre, band):
    return [(v - centre) ** 2 if abs(v - centre) > band else 0.0 for v in values]


def test_least_squares_losses():
    real, fake = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.5], [2.0]])
    assert adversarial.discriminator_loss(real, fake).item() == pytest.approx((0.5 + 4.25 / 2) / 2)
    assert adversarial.generator_loss(fake).item() == pytest.approx((0.25 + 1) / 2)
    assert adversarial.discriminator_accuracy(real, fake).item() == pytest.approx(0.5)
    assert adversarial.discriminator_accuracy(torch.ones(4), torch.zeros(2)) == 1
    assert adversarial.discriminator_accuracy(torch.zeros(4), torch.ones(2)) == 0


def test_range_loss_is_its_definition():
    turns = torch.rand(40, 1, 15, generator=rng()) * torch.rand(40, 1, 1, generator=rng(1)) * 2
    ratios = torch.randn(40, 9, generator=rng(2)) * 0.1
    loss = adversarial.range_loss(turns, ratios, ba_range_m=0.205, ba_range_w=0.165, blr_limit=0.1)
    of_turns = naive_outside([sum(pose[0]) / 15 for pose in turns.tolist()], 0.205, 0.165)
    of_ratios = naive_outside([r for pose in ratios.tolist() for r in pose], 0, 0.1)
    assert 0 < sum(v > 0 for v in of_turns) < 40 and 0 < sum(v > 0 for v in of_ratios) < 360
    assert loss.item() == pytest.approx(sum(of_turns) / 40 + sum(of_ratios) / 360, rel=1e-5)


def test_ranges_cost_nothing_inside():
    inside = torch.full((4, 1, 15), 0.3), torch.full((4, 9), -0.09)
    ranges = {"ba_range_m": 0.205, "ba_range_w": 0.165, "blr_limit": 0.1}
    assert adversarial.range_loss(*inside, **ranges) == 0
    for outside in ((inside[0] + 0.1, inside[1]), (inside[0], inside[1] - 0.02)):
        assert adversarial.range_loss(*outside, **ranges) > 0


def test_joint_errors_are_weighed_and_grouped():
    predicted = torch.randn(6, 16, 3, generator=rng())
    target = torch.randn(6, 16, 3, generator=rng(1))
    errors = (predicted - target).norm(dim=-1).tolist()
    heavy = {1: 5, 4: 5, 10: 5, 13: 5, 2: 2, 5: 2, 11: 2, 14: 2}
    groups = ([1, 4, 10, 13], [2, 5, 9, 11, 14], [3, 6, 12, 15])
    want = [
        [sum(heavy.get(j, 1) * pose[j] for j in group) / len(group) for group in groups]
        for pose in errors
    ]
    got = adversarial.group_errors(predicted, target)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    ratio = adversarial.difficulty(3 * got, got)
    torch.testing.assert_close(ratio, torch.full((6, 3), 3.0))
    assert adversarial.difficulty(got, torch.zeros_like(got)).isfinite().all()


@pytest.mark.parametrize(("progress", "target"), [(0.0, 3.0), (0.5, 4.0), (1.0, 5.0)])
def test_feedback_is_its_definition(progress, target):
    turned = torch.rand(20, 3, generator=rng()) * 10
    moved = torch.rand(20, 3, generator=rng(1)) * 60
    loss = adversarial.feedback_loss(turned, moved, progress=progress)
    of_turned = naive_outside(turned.flatten().tolist(), target, 2)
    of_moved = naive_outside(moved.flatten().tolist(), 17, 15)
    want = 0.1 * sum(of_turned) / 60 + 0.01 * sum(of_moved) / 60
    assert loss.item() == pytest.approx(want, rel=1e-5)
    easy = adversarial.feedback_loss(torch.tensor(target), torch.tensor(20.0), progress=progress)
    assert easy == 0


def test_feedback_pulls_towards_the_target():
    ratio = torch.tensor([0.1, 3.0, 9.0], requires_grad=True)
    adversarial.feedback_loss(ratio, torch.tensor(17.0), progress=0.0).backward()
    assert ratio.grad is not None
    assert ratio.grad[0] < 0 and ratio.grad[1] == 0 and ratio.grad[2] > 0


def numbered(first, count):
    """Poses that can be told apart by their first number."""
    return torch.arange(first, first + count).view(-1, 1, 1).expand(count, 16, 3).float()


def numbers(poses):
    assert (poses == poses[:, :1, :1]).all()
    return poses[:, 0, 0].tolist()


def test_pool_that_is_not_full_answers_with_what_came_in():
    pool = adversarial.FakePool(rng(), size=8)
    for first in (0, 3):
        assert torch.equal(pool.exchange(numbered(first, 3)), numbered(first, 3))
    assert numbers(pool.stored) == list(range(6))


def test_full_pool_answers_half_of_the_time_with_an_old_one():
    pool = adversarial.FakePool(rng(), size=64)
    pool.exchange(numbered(0, 64))
    old_answers = 0
    for first in range(64, 64 + 50 * 40, 40):
        before, fakes = numbers(pool.stored), numbered(first, 40)
        answers = pool.exchange(fakes)
        # Nothing is lost or doubled: each old one given out made room for the new one.
        after = numbers(answers) + numbers(pool.stored)
        assert sorted(after) == sorted(before + numbers(fakes))
        kept = answers[:, 0, 0] == fakes[:, 0, 0]
        assert all(number in before for number in numbers(answers[~kept]))
        old_answers += int((~kept).sum())
    assert abs(old_answers - 1000) < 4 * math.sqrt(2000 / 4)


@pytest.mark.parametrize("count", [5, 12, 40])
def test_pool_takes_batches_of_any_size(count):
    pool = adversarial.FakePool(rng(), size=8)
    pool.exchange(numbered(0, 6))
    answers = pool.exchange(numbered(6, count))
    assert numbers(answers[:2]) == [6, 7]  # there was room for two
    assert sorted(numbers(answers) + numbers(pool.stored)) == sorted(
        [*range(6 + count), 6, 7]  # those two are both stored and answered
    )


def test_pool_goes_on_from_its_state():
    pool = adversarial.FakePool(rng(), size=8)
    assert pool.state() == {"stored": None}
    pool.exchange(numbered(0, 8))
    state, draws = pool.state(), pool.generator.get_state()
    want = [numbers(pool.exchange(numbered(first, 6))) for first in (10, 20)]
    assert want != [[*range(10, 16)], [*range(20, 26)]]
    generator = rng(99)
    generator.set_state(draws)
    resumed = adversarial.FakePool(generator, size=8)
    resumed.load_state(state)
    assert [numbers(resumed.exchange(numbered(first, 6))) for first in (10, 20)] == want
    assert numbers(state["stored"]) == list(range(8))  # going on left the state alone
    empty = adversarial.FakePool(rng(), size=8)
    empty.load_state({"stored": None})
    assert numbers(empty.exchange(numbered(0, 3))) == [0, 1, 2]


def test_pool_cuts_gradients():
    pool = adversarial.FakePool(rng(), size=2)
    for _ in range(2):
        assert not pool.exchange(torch.ones(4, 16, 3, requires_grad=True) * 2).requires_grad
