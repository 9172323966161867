"""Several processes: the same meetings whatever their shares hold, and the results of one."""

import math

import meetings
import numpy as np
import pytest
import torch
from several import in_processes

from common.errors import FailedRun, UserError
from common.training.processes import Processes, speaks
from common.training.runtime import Runtime

ALONE = Processes()


def same_gradients(one, two):
    assert list(one) == list(two)
    for name, gradient in one.items():
        assert (gradient is None) == (two[name] is None), name
        if gradient is not None:
            torch.testing.assert_close(gradient, two[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_gradients_are_those_that_any_process_has(count):
    results = in_processes(count, meetings.sum_random_gradients)
    absent = 0
    for number in range(meetings.ROUNDS):
        per_process = []
        for rank in range(count):
            parameters = meetings.new_parameters()
            meetings.random_gradients(rank, number, parameters)
            per_process.append([p.grad for p in parameters])
        for place, given in enumerate(zip(*per_process, strict=True)):
            there = [gradient for gradient in given if gradient is not None]
            absent += not there
            for rank in range(count):
                got = results[rank][number][place]
                if not there:
                    assert got is None
                else:
                    torch.testing.assert_close(got, sum(there))
    assert absent  # some had none in any process


TWO_D, THREE_D = list(range(0, 160, 10)), list(range(-160, 0, 10))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("samples", "micro_batch"),
    [
        (TWO_D + THREE_D, 0),  # the first process has 2D only, the second 3D only
        (TWO_D + THREE_D, 4),  # in four parts
        (TWO_D[:4], 0),  # no 3D in any process
        ([*THREE_D[:4], 5, 15, 25], 0),  # 4 samples and 3
        ([5, -5], 0),  # one sample each
        ([5], 0),  # nothing for the second process
    ],
)
def test_a_step_in_two_processes_is_that_of_one(samples, micro_batch):
    gradients, sums, _ = meetings.step(ALONE, samples, 0, [])
    assert sum(gradient is not None for gradient in gradients.values()) > 30
    for of_process, total, exchanged in in_processes(2, meetings.step, samples, micro_batch, []):
        same_gradients(gradients, of_process)
        torch.testing.assert_close(total, sums)
        assert exchanged == 1  # of gradients, however many parts there are


@pytest.mark.slow
@pytest.mark.parametrize("keeps", [[9, 0], [0, 9], [0, 0], [1, 9], [9, 9]])
def test_a_process_whose_windows_are_all_dropped_keeps_the_others_going(keeps):
    samples = [n for pair in zip(TWO_D, THREE_D, strict=True) for n in pair]
    one, two = in_processes(2, meetings.step, samples, 0, keeps)
    same_gradients(one[0], two[0])
    torch.testing.assert_close(one[1], two[1])
    plain = meetings.step(ALONE, samples, 0, [])[0]
    lifted = "fcn_dec3d.1.weight"
    changed = not torch.allclose(one[0][lifted], plain[lifted] * 2.5, rtol=1e-3)
    assert changed == any(keeps)  # else the batch's own losses, 3D times 5 instead of 2


@pytest.mark.slow
@pytest.mark.parametrize("windows", [2, 300])  # fewer than processes; over the end of a mask
def test_tables_do_not_depend_on_the_number_of_processes(windows):
    want = meetings.tables(ALONE, windows)
    for count in (2, 3):
        for got in in_processes(count, meetings.tables, windows):
            for table, other in zip(want, got, strict=True):
                for row, same in zip(table, other, strict=True):
                    assert list(row) == list(same)
                    np.testing.assert_allclose(
                        list(row.values()), list(same.values()), atol=1e-4, rtol=0
                    )
    assert any(not math.isnan(value) for table in want for value in table[0].values())


@pytest.mark.slow
@pytest.mark.parametrize("error", [UserError("x"), FailedRun("x"), ZeroDivisionError("x")])
def test_what_fails_in_the_main_process_fails_in_all(error):
    want = [type(error).__name__, "FailedElsewhere", "FailedElsewhere"]
    assert in_processes(3, meetings.fail_on_main, error) == want


@pytest.mark.slow
@pytest.mark.parametrize(
    ("messages", "speak"),
    [
        (["no file x"] * 3, [True, False, False]),
        (["no file x", "no file x", "no file y"], [True, False, True]),
        ([None, "no file x", None], [False, True, False]),  # on one machine only
    ],
)
def test_each_failure_is_told_and_the_same_one_once(messages, speak):
    assert in_processes(3, meetings.report, messages) == speak


@pytest.mark.parametrize(("rank", "local", "speak"), [(0, 0, True), (1, 1, False), (8, 0, True)])
def test_before_processes_meet_one_of_each_machine_speaks(monkeypatch, rank, local, speak):
    for name, value in (("RANK", rank), ("LOCAL_RANK", local), ("WORLD_SIZE", 16)):
        monkeypatch.setenv(name, str(value))
    assert speaks("--lr x") is speak


@pytest.mark.slow
def test_a_lost_process_is_one_line():
    first, second = in_processes(2, meetings.lose_another)
    assert first.startswith("process 0 has lost another one") and second == "ended"


def test_alone_nothing_is_exchanged():
    value = torch.ones(2)
    assert ALONE.sum(value) is value and ALONE.gather(3) == [3] and not ALONE.any(False)
    with pytest.raises(ZeroDivisionError):
        ALONE.on_main(lambda: 1 / 0)


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"RANK": "x"}, "RANK='x' is not a number"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 of WORLD_SIZE=2"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK=-1"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0"),
        ({"RANK": "1"}, "RANK=1 of WORLD_SIZE=1"),
    ],
)
def test_launchers_that_make_no_sense(monkeypatch, variables, complaint):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=complaint):
        Processes.of_environment()


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("now", [1, 2, 3])
def test_random_streams_go_on_with_another_number_of_processes(before, now, caplog, monkeypatch):
    monkeypatch.setattr("common.training.runtime.LOG.propagate", True)

    def start(rank, count):
        run = Runtime(torch.device("cpu"), (), rank, count, "fp32")
        return run, run.new_generator(5), run.new_common_generator(5)

    states = []
    for rank in range(before):
        run, own, common = start(rank, before)
        torch.rand(7, generator=own), torch.rand(7, generator=common)
        monkeypatch.setattr(Processes, "gather", lambda self, value: [value])
        states += run.random_states()
    drawn = []
    for rank in range(now):
        run, own, common = start(rank, now)
        with caplog.at_level("INFO"):
            run.set_random_states(states)
        drawn.append((torch.rand(3, generator=own), torch.rand(3, generator=common)))
    assert all(torch.equal(drawn[0][1], common) for _, common in drawn)
    for rank, (own, _) in enumerate(drawn):
        going_on = torch.Generator().manual_seed(5 + rank)
        torch.rand(7 if rank < before else 0, generator=going_on)
        assert torch.equal(own, torch.rand(3, generator=going_on))
    assert ("processes" in caplog.text) == (before != now)
