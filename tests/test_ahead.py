"""Reading ahead."""

from __future__ import annotations

import threading

import pytest

from aitom_disca.computing.reading_ahead import read_ahead


def test_the_next_is_read_while_one_is_worked_on():
    begun = [threading.Event() for _ in range(3)]

    def read(number: int) -> int:
        begun[number].set()
        return number * number

    seen = []
    for number, square in read_ahead(read, range(3)):
        seen.append((number, square))
        assert begun[min(number + 1, 2)].wait(10)
    assert seen == [(0, 0), (1, 1), (2, 4)]
    assert list(read_ahead(read, [])) == []


def test_an_error_comes_at_its_place():
    found = read_ahead(lambda number: 1 // number, [2, 1, 0, 3])
    assert [next(found), next(found)] == [(2, 0), (1, 1)]
    with pytest.raises(ZeroDivisionError):
        next(found)
