"""Small faults are put into the code, one at a time: do the tests that concern it notice?

    python tests/mutation/run.py --most 40 clustering/ddbi.py mining/fast_loop.py

Cosmic Ray (``pip install cosmic-ray``) makes them, in a copy of the checkout. Which tests concern a
module is written in ``tests_of.toml``. All faults of a module are many, so that some are drawn; the
seed says which. What survives is printed as a difference, and kept in ``--out`` as JSON. Begun
again with the same ``--work``, it goes on where it was.

Tests run in a fork of this process, which has done the slow imports for all of them.
"""

from __future__ import annotations

import argparse
import compileall
import difflib
import importlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from meaning import is_meaningful

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Operators that make no fault, or one that ends in an error whatever is computed: bits of floats,
# the same comparison in another word, the marks of dataclasses.
_NOT_TRIED = ("Bit", "Shift", "ExceptionReplacer", "RemoveDecorator", "Eq_Is", "Is_Eq", "IsNot_Not")
_IMPORTED = (
    "pytest hypothesis numpy pandas h5py pydantic typer rich scipy.ndimage scipy.optimize "
    "scipy.stats sklearn.cluster sklearn.mixture keras"
)
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Fault:
    """A change of one place of a module, and the module with it."""

    module: str
    operator: str
    occurrence: int
    line: int
    source: str

    @property
    def name(self) -> str:
        return f"{self.module} {self.operator} {self.occurrence}"


def copied(folder: Path) -> Path:
    """The checkout as it stands, without what git ignores; compiled, as only one module changes."""
    target = folder / "checkout"
    if not target.exists():
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout
        for name in names.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes((ROOT / name).read_bytes())
        compileall.compile_dir(target / "aitom_disca", quiet=1)
    return target


def drawn(module: str, source: str, most: int, seed: int) -> list[Fault]:
    """Faults of a module, each in another place."""
    nodes = list(ast_nodes(get_ast(source)))
    places: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for name in operator_names():
        if get_operator(name).arguments() or any(part in name for part in _NOT_TRIED):
            continue
        operator = get_operator(name)()
        starts = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(starts):
            places.setdefault(start, []).append((name, occurrence))
    dice = random.Random(seed)
    found: list[Fault] = []
    for start in dice.sample(sorted(places), len(places)):
        # Of the many ways to change one operator one is enough.
        for name, occurrence in dice.sample(places[start], len(places[start])):
            changed = mutate_code(source, get_operator(name)(), occurrence)
            if is_meaningful(source, changed):
                found.append(Fault(module, name, occurrence, start[0], changed))
                break
        if len(found) == most:
            break
    return sorted(found, key=lambda fault: fault.line)


def fail(tests: list[str], checkout: Path, timeout_s: float) -> bool:
    """Whether some tests fail, or do not end."""
    child = _FORK.Process(target=_run, args=(tests, checkout))
    child.start()
    child.join(timeout_s)
    if child.exitcode is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.join()
    return child.exitcode != 0


def _run(tests: list[str], checkout: Path) -> None:
    import pytest

    os.setsid()  # its own processes end with it
    os.chdir(checkout)
    os.environ["PYTHONPATH"] = str(checkout)
    sys.path.insert(0, str(checkout))
    sys.dont_write_bytecode = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.exit(pytest.main(["-q", "-x", "-n", "0", "-p", "no:cacheprovider", *tests]))


def tried(
    faults: list[Fault], source: str, tests: list[str], work: Path, timeout_s: float
) -> dict[str, bool]:
    """Whether each fault is noticed, by its name; keeps each, so that none is tried again."""
    kept = work / "tried.jsonl"
    noticed = dict(map(json.loads, kept.read_text().splitlines())) if kept.exists() else {}
    left = [fault for fault in faults if fault.name not in noticed]
    if left:
        start = time.perf_counter()
        if fail(tests, work / "checkout", timeout_s):
            raise SystemExit(f"{tests} fail without any fault; mend that first.")
        seconds = time.perf_counter() - start
        print(f"{faults[0].module}: {seconds:.1f} s without a fault", flush=True)
        timeout_s = min(timeout_s, 20 + 5 * seconds)
    for fault in left:
        path = work / "checkout" / "aitom_disca" / fault.module
        path.write_text(fault.source)
        try:
            noticed[fault.name] = fail(tests, work / "checkout", timeout_s)
        finally:
            path.write_text(source)
        with kept.open("a") as file:
            file.write(json.dumps([fault.name, noticed[fault.name]]) + "\n")
    return noticed


def main() -> None:
    """Try faults in the modules that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", help="below aitom_disca; by default all listed")
    parser.add_argument("--most", type=int, default=40, help="faults of each module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout-s", type=float, default=300.0)
    parser.add_argument("--work", type=Path, help="folder to go on in; by default a new one")
    parser.add_argument("--out", type=Path, default=Path("survivors.json"))
    given = parser.parse_args()
    tests_of = tomllib.loads((HERE / "tests_of.toml").read_text())
    work = (given.work or Path(tempfile.mkdtemp(prefix="mutation-"))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    checkout, total, survivors = copied(work), Counter(), []
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in _IMPORTED.split():
        importlib.import_module(name)
    warnings.simplefilter("ignore", SyntaxWarning)
    for module in given.modules or tests_of:
        source = (checkout / "aitom_disca" / module).read_text()
        faults = drawn(module, source, given.most, given.seed)
        noticed = tried(faults, source, tests_of[module], work, given.timeout_s)
        left = [fault for fault in faults if not noticed[fault.name]]
        total += Counter(noticed=len(faults) - len(left), tried=len(faults))
        print(f"{module}: {len(faults) - len(left)} of {len(faults)} noticed", flush=True)
        for fault in left:
            lines = source.splitlines(), fault.source.splitlines()
            change = "\n".join([*difflib.unified_diff(*lines, lineterm="", n=1)][3:])
            survivors.append({"where": f"{module}:{fault.line}", "fault": change})
            print(survivors[-1]["where"], change, sep="\n", flush=True)
        given.out.write_text(json.dumps({"found": total, "survivors": survivors}, indent=1))
    if total["tried"]:
        share = total["noticed"] / total["tried"]
        print(f"{total['noticed']} of {total['tried']} noticed: {share:.0%}")


if __name__ == "__main__":
    main()
