"""tests/claims.py: equal steps whoever is trained on, and results that are kept."""

import argparse
import math

import claims
import pytest
from claims import BATCH, BOTH, Laboratory, Lifter
from paths import SAMPLE


def laboratory(**changed):
    """One for the sample."""
    options = {"motion": SAMPLE, "seeds": ["1"], "steps": 1, "tune_steps": 1, "part": 1.0}
    return Laboratory(argparse.Namespace(**(options | changed)))


@pytest.mark.parametrize("steps", [100, 400])
@pytest.mark.parametrize("copies", [1, 2])
def test_everybody_and_a_few_are_trained_on_for_the_same_number_of_steps(steps, copies):
    lab = laboratory()
    for people in (lab.people, lab._drawn(0.2, seed=3), lab._drawn(0.01, seed=3)):
        words = dict(zip(*[iter(lab._schedule(people, copies, steps))] * 2, strict=True))
        stride, epochs = int(words["-s"]), int(words["--nepoch"])
        lengths = [length for subject, length in lab.lengths if subject in people]
        windows = 2 * copies * sum(math.ceil(length / stride) for length in lengths)
        assert epochs * math.ceil(windows / BATCH) == pytest.approx(steps, rel=0.1)
        last = float(words["-lrd"]) ** (epochs - 1)
        assert last == pytest.approx(claims.FALL, rel=0.02)


def test_people_are_drawn_by_the_seed():
    lab = laboratory()
    assert lab._drawn(1.0, seed=1) == lab.people
    assert len(lab._drawn(0.01, seed=1)) == 1
    assert {tuple(lab._drawn(0.2, seed=seed)) for seed in range(20)} > {("S1",)}


@pytest.mark.slow
def test_a_lifter_is_pre_trained_tuned_and_tested_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claims, "MODEL", claims.MODEL.replace("--channel 64", "--channel 16"))
    lab = laboratory()
    ((p1, p2),) = lab.errors(Lifter(BOTH))
    assert 0 < p2 < p1 < 2000
    assert (tmp_path / "checkpoint" / "pretrain_both_s1_f27_t0.60" / "results.json").exists()
    monkeypatch.setattr(claims, "run_command", None)  # would fail if it were called
    assert laboratory().errors(Lifter(BOTH)) == [(p1, p2)]
