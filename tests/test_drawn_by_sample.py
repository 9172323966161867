"""Random numbers of a test depend on its seed and the number of a sample, and on nothing else."""

import random

import pytest
import torch

from common.data.skeleton import H36M_17
from common.tasks.masking import LIMBS_3D, DrawnBySample, sample_limb_masks

COUNT = 20_000


@pytest.mark.parametrize("seed", [0, 1, 2**62, 2**63 - 1])
def test_the_numbers_are_uniform_and_independent(seed):
    draw = DrawnBySample(seed, torch.arange(COUNT))
    numbers = torch.cat([draw(3), draw(1)], dim=1).double()
    assert ((numbers >= 0) & (numbers < 1)).all()
    for column in numbers.T:
        counts = (column * 20).long().bincount(minlength=20).double()
        assert ((counts - COUNT / 20).square() / (COUNT / 20)).sum() < 45  # 0.999 quantile: 43.8
    neighbours = numbers[1:, 0], numbers[:-1, 0]  # of samples next to each other
    pairs = [neighbours, *((numbers[:, i], numbers[:, j]) for i in range(4) for j in range(i))]
    for one, two in pairs:
        assert torch.corrcoef(torch.stack([one, two]))[0, 1].abs() < 4 / COUNT**0.5


def mixed(key):
    """The output function of SplitMix64, in whole numbers of any size."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        key = (key ^ key >> shift) * factor % 2**64
    return key


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_the_arithmetic_wraps_around_as_it_should(seed):
    samples = [0, 1, 500_000, 2**40]
    draw = DrawnBySample(seed, torch.tensor(samples))
    numbers = torch.cat([draw(2), draw(3)], dim=1)
    for row, sample in zip(numbers, samples, strict=True):
        key = mixed((sample + mixed(seed)) % 2**64)
        for column, number in enumerate(row.tolist(), start=1):
            bits = mixed((key + column * 0x9E3779B97F4A7C15) % 2**64)
            assert number == (bits >> 40) / 2**24


@pytest.mark.parametrize("case", range(20))
def test_a_sample_hides_the_same_in_any_company(case):
    rng = random.Random(case)
    samples = [rng.randrange(2 ** rng.randint(1, 40)) for _ in range(rng.randint(1, 12))]
    seed = rng.randrange(2**63)

    def masks(chosen):
        draw = DrawnBySample(seed, torch.tensor(chosen))
        return sample_limb_masks(draw, H36M_17, limbs=LIMBS_3D, numbers=(0, 2, 6, 9))

    together = masks(samples)
    for place, sample in enumerate(samples):
        assert torch.equal(together[place], masks([sample])[0])
    assert torch.equal(masks(samples[::-1]).flip(0), together)


def test_another_seed_hides_something_else():
    one, two = (DrawnBySample(seed, torch.arange(50))(17) for seed in (0, 1))
    assert not (one == two).any(0).all()
