"""Damage to files, at random but the same every time; what comes of it; and limits on that."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError

N_CASES = int(os.environ.get("CAMPAIGN_CASES", "100"))  # of every kind of file
SEED = int(os.environ.get("CAMPAIGN_SEED", "0"))
LONGEST_S, MOST_BYTES = 20, 2 << 30
_WORDS = (b"nan", b"null", b"-1", b"1e400", b"[]", b"{}", b'"x"', b"0", b"", b"true", b"\xff")


class TooLong(BaseException):
    """A case took longer than it may."""


def damaged(data: bytes, rng: random.Random, *, text: bool = False) -> bytes:
    """The same with one fault: a bit, some bytes, a block or an end that changed or is gone."""
    at = rng.randrange(len(data) + 1)
    n = min(rng.choice((1, 2, 8, 64, 512, 4096)), len(data) - at)
    kind = rng.randrange(9 if text else 7)
    if kind == 0 and at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + bytes(n) + data[at + n :]
    if kind == 3:
        return data[:at] + rng.randbytes(n) + data[at + n :]
    if kind == 4:
        return data[:at] + data[at + n :]
    if kind == 5:
        return data[:at] + data[at : at + n] + data[at:]
    if kind == 6:
        return data[: len(data) - len(data) % 512] if rng.random() < 0.2 else b"" * at
    words = data.replace(b",", b" , ").replace(b":", b" : ").split(b" ")  # of a text
    words[rng.randrange(len(words))] = rng.choice(_WORDS)
    return b" ".join(words).replace(b" , ", b",").replace(b" : ", b":")


@contextmanager
def limits(longest_s: int = LONGEST_S) -> Iterator[None]:
    """At most 2 GB beyond what is there, and 20 s."""

    def stop(*_: object) -> None:
        raise TooLong

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, hard))
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(longest_s)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which are errors here, but not to users
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def alike(one: object, other: object) -> bool:
    """Whether two readings are the same, to the bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        a, b = np.asarray(one), np.asarray(other)
        return a.shape == b.shape and a.dtype.kind == b.dtype.kind and a.tobytes() == b.tobytes()
    return one == other or repr(one) == repr(other)


def campaign(
    name: str,
    path: Path,
    read: Callable[[], object],
    *,
    text: bool = False,
    may_change: bool = False,
    n: int = N_CASES,
    files: list[Path] | None = None,
) -> Counter[str]:
    """Damage a file again and again and read it: refused in one sentence, or read as it was.

    Parameters
    ----------
    name : str
        Of the kind of file, for the table and the seed.
    path : Path
        What is named in sentences.
    read : callable
        Reads it; `InputError` is a refusal.
    text : bool
        Whether words are replaced, too.
    may_change : bool
        Whether the container has no checksum, so that other values cannot be told.
    files : list of Path
        Of which one is damaged, or lost; by default the path.
    """
    rng = random.Random(f"{SEED} {name}")
    right, found, slowest = read(), Counter[str](), 0.0
    for case in range(n):
        file = rng.choice(files or [path])
        whole = file.read_bytes()
        try:
            if files and rng.random() < 0.1:
                file.unlink()
            else:
                file.write_bytes(damaged(whole, rng, text=text))
            start = time.perf_counter()
            where = f"{name}, case {case} of seed {SEED}: {file.name}"
            try:
                with limits():
                    same = alike(read(), right)
                assert same or may_change, f"{where} gave other values without a word"
                found["as it was" if same else "other values"] += 1
            except InputError as error:
                said = str(error)
                assert "\n" not in said and "Traceback" not in said and len(said) < 600, where
                found["refused"] += 1
            except (Exception, TooLong) as error:
                raise AssertionError(f"{where} ended with {type(error).__name__}") from error
            slowest = max(slowest, time.perf_counter() - start)
        finally:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(whole)
    _note(name, n, found, slowest)
    return found


def _note(name: str, n: int, found: Counter[str], slowest_s: float) -> None:
    """A row of the table, where one is asked for."""
    row = {"what": name, "cases": n, **found, "slowest_s": round(slowest_s, 2)}
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if "CAMPAIGN_TABLE" in os.environ:
        with open(os.environ["CAMPAIGN_TABLE"], "a") as file:
            file.write(json.dumps(row) + "\n")
    print(row)
