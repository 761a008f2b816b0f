"""Independent pieces on all cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from aitom_disca import parallel
from aitom_disca.parallel import on_all_cores


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 2)
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
