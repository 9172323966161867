"""Functions run in several processes at once that meet over Gloo, as under torchrun."""

import os
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from runs import PROCESSES

from common.training.processes import Processes

SECONDS = 120  # a meeting that not all come to


def in_processes(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function of a test module returns in each of several processes, by rank.

    Raises:
        AssertionError: a process has failed, or waits for others that never come.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes, processes = [], []
    for rank in range(count):
        ours, theirs = PROCESSES.Pipe()
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        process = PROCESSES.Process(target=_run, args=(theirs, environment, function, arguments))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        return [_received(pipe, rank) for rank, pipe in enumerate(pipes)]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _received(pipe: Connection, rank: int) -> Any:
    assert pipe.poll(SECONDS), f"process {rank} waits for others that never come"
    failure, result = pipe.recv()
    assert failure is None, f"process {rank}: {failure}"
    return result


def _run(
    pipe: Connection,
    environment: dict[str, str],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    import torch

    os.environ.update(environment)
    torch.set_num_threads(1)
    processes = Processes.of_environment()
    processes.join(torch.device("cpu"))
    try:
        pipe.send((None, function(processes, *arguments)))
    except BaseException as error:
        pipe.send((f"{type(error).__name__}: {error}", None))
        raise
    pipe.recv()  # stay until the others are done; the parent kills
