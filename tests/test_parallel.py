"""Independent pieces on all cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
import sklearn.cluster  # noqa: F401  brings threads of its own, which are to be there before
from threadpoolctl import threadpool_info, threadpool_limits

from aitom_disca.cli import main
from aitom_disca.computing import cores
from aitom_disca.computing.cores import n_cores
from aitom_disca.computing.parallel import on_all_cores


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cores, "_chosen", 2)
    yield


def test_results_come_in_order_whoever_is_done_first() -> None:
    second_is_done = threading.Event()

    def piece(i: int) -> int:
        if i == 0:
            assert second_is_done.wait(30)  # only another thread can end this
        if i == 1:
            second_is_done.set()
        return i * i

    assert on_all_cores(piece, range(5)) == [0, 1, 4, 9, 16]
    assert on_all_cores(piece, []) == []


def test_pieces_inside_pieces_stay_in_their_thread() -> None:
    def inner(_: int) -> int:
        return threading.get_ident()

    def outer(_: int) -> set[int]:
        return {threading.get_ident(), *on_all_cores(inner, range(4))}

    assert all(len(threads) == 1 for threads in on_all_cores(outer, range(4)))


def test_an_error_in_a_piece_is_raised() -> None:
    def piece(i: int) -> float:
        return 1 / i

    with pytest.raises(ZeroDivisionError):
        on_all_cores(piece, [1, 0, 2])


def test_cores_are_those_allotted_not_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_chosen", None)
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 64)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    for allotted, n in (("", 12), ("3", 3), ("40", 12), ("0", 12)):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", allotted)
        assert n_cores() == n
    with monkeypatch.context() as plain_job:
        plain_job.delenv("SLURM_CPUS_PER_TASK")
        plain_job.setenv("SLURM_CPUS_ON_NODE", "4")
        assert n_cores() == 4
    with monkeypatch.context() as elsewhere:  # where there is no affinity
        elsewhere.delattr(cores.os, "sched_getaffinity")
        elsewhere.delenv("SLURM_CPUS_PER_TASK")
        assert n_cores() == 64


def test_threads_are_as_many_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cores._VARIABLES:
        monkeypatch.setenv(name, "7")
    before = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
    with threadpool_limits():  # which restores those of libraries
        assert main(["info", "nowhere.mrc"]) == 2 and n_cores() == 2
        assert main(["pick", "nowhere.mrc", "--out", "picks.csv", "--threads", "3"]) == 2
        assert n_cores() == 3 and os.environ["OMP_NUM_THREADS"] == "3"
        assert {pool["num_threads"] for pool in threadpool_info()} == {3}
        assert main(["pick", "nowhere.mrc", "--out", "picks.csv", "--threads", "0"]) == 2
    assert before == {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
