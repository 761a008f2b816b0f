"""What a pickle would do to memory and time, looked at before and after it is loaded.

A few hundred bytes of a pickle can stand for more than any machine holds: parts that share parts,
numbers of bytes to be made, places in a table that need not be there. Whatever a file stands for
must not be much more than the file itself.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_DEEPEST = 100  # AITom nests five levels
_MOST_BITS = 64
_UNFOLDED_BYTES, _FACTOR = 1_000_000, 5  # what a file may unfold to, beside its own size
_LARGEST_KEY = 10_000  # parts of a tuple, all levels together; its hash looks at each
_SPARE_PLACES = 1000
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
_SINGLE = (str, bytes, int, float, complex, np.generic)
_PLAIN = (1, 0)  # parts and depth of anything but a tuple
_MARK = (0, 0)


def most_bytes(content: bytes) -> int:
    """How much the content of a pickle may unfold to."""
    return _FACTOR * len(content) + _UNFOLDED_BYTES


def check_operations(content: bytes) -> None:
    """Refuse a pickle whose tuples, numbers or table of places are beyond measure.

    Raises
    ------
    ValueError, LookupError, UnicodeError
        Also if it is no pickle.
    """
    stack: list[tuple[int, int]] = []
    memo: dict[int, tuple[int, int]] = {}
    for code, argument in _operations(content):
        if isinstance(argument, int) and argument.bit_length() > _MOST_BITS:
            raise ValueError("it has whole numbers of more than 64 bits")
        taken = _take(code, stack)
        if code.name in _TUPLES:
            parts, depth = 1 + sum(n for n, _ in taken), 1 + max((d for _, d in taken), default=0)
            if parts > _LARGEST_KEY or depth > _DEEPEST:
                raise ValueError("it has tuples in tuples without end")
            stack.append((parts, depth))
        elif code.name.endswith("GET"):
            stack.append(memo[argument])
        elif code.name.endswith("PUT") or code.name == "MEMOIZE":
            place = len(memo) if argument is None else argument
            if place > 2 * len(memo) + _SPARE_PLACES:
                raise ValueError(f"it asks for {place} places, of which it uses {len(memo) + 1}")
            stack += taken
            memo[place] = stack[-1]
        elif code.name == "DUP":
            stack += [taken[0], taken[0]]
        else:
            made = code.stack_after
            stack += [_MARK if one is pickletools.markobject else _PLAIN for one in made]


def _operations(content: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """As `pickletools.genops`, which takes text of Python 2 for ASCII."""
    codes = {one.code.encode("latin-1"): one for one in pickletools.opcodes}
    file = io.BytesIO(content)
    while True:
        code = codes[file.read(1)]
        argument = None
        if code.name == "STRING":
            file.readline()
        elif code.arg is not None:
            argument = code.arg.reader(file)
        yield code, argument
        if code.name == "STOP":
            return


def _take(code: pickletools.OpcodeInfo, stack: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Take what an operation takes from the stack."""
    needed = code.stack_before
    n, taken = len(needed), []
    if pickletools.markobject in needed:
        n = needed.index(pickletools.markobject)
        while stack[-1] is not _MARK:
            taken.append(stack.pop())
        stack.pop()
    return taken + [stack.pop() for _ in range(n)]


class Unfolding:
    """Replace parts of what was loaded, each once, and measure what it unfolds to.

    Parameters
    ----------
    replaced : callable
        Gives what a part that is no container becomes, and its size in bytes; ``replaced(part,
        again)`` may call ``again`` for parts in it.
    most : int
        Bytes that all may unfold to.
    """

    def __init__(
        self,
        replaced: Callable[[Any, Callable[[Any], Any]], tuple[Any, int]],
        most: int,
    ) -> None:
        self._replaced, self._most = replaced, most
        self._done: dict[int, tuple[Any, Any, int]] = {}  # by id; what it was stays alive
        self._sizes, self._depth = [0], 0

    def __call__(self, held: Any) -> Any:
        """The same with its parts replaced.

        Raises
        ------
        ValueError
            If it holds itself, is nested too deep, or unfolds to too much.
        """
        if held is None or isinstance(held, _SINGLE):
            self._sizes[-1] += 1
            return held
        if id(held) not in self._done:
            self._depth += 1
            if self._depth > _DEEPEST:
                raise ValueError(f"it is nested more than {_DEEPEST} deep, or holds itself")
            self._sizes.append(1)
            made, size = self._made(held)
            size += self._sizes.pop()
            self._depth -= 1
            self._done[id(held)] = held, made, size
        _, made, size = self._done[id(held)]
        self._sizes[-1] += size
        if self._sizes[-1] > self._most:
            raise ValueError("it unfolds to far more than the file holds")
        return made

    def _made(self, held: Any) -> tuple[Any, int]:
        if isinstance(held, dict):
            return type(held)((self(key), self(value)) for key, value in held.items()), 0
        if isinstance(held, list | tuple | set | frozenset):
            return type(held)(self(part) for part in held), 0
        return self._replaced(held, self)
