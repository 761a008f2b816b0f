"""Small faults are put into the code, one at a time: do the tests that concern it notice?

    python tests/mutation/run.py --most 40 classification/merge.py clustering/em.py

Cosmic Ray (``pip install cosmic-ray``) makes them in a copy of the checkout. Which tests concern a
module is written in ``tests_of.toml``. All faults of a module are many, so that some are drawn; the
seed says which. What survives is printed as a difference, and kept in ``--out`` as JSON. Begun
again with the same ``--work``, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import WorkerOutcome, WorkItem, WorkResult

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Faults that are none, or that end in an error whatever is computed: bits of floats; types of
# annotations; the marks of dataclasses.
_NOT_TRIED = ("_Bit", "Shift", "ExceptionReplacer", "RemoveDecorator", "NumberReplacer:0")


def copied(folder: Path) -> Path:
    """The checkout as it stands, without what git ignores."""
    target = folder / "checkout"
    if not target.exists():
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout
        for name in names.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes((ROOT / name).read_bytes())
    return target


def session_of(module: str, tests: list[str], checkout: Path, timeout_s: float) -> Path:
    """All faults of a module, none of them tried yet."""
    stem = checkout.parent / module.replace("/", ".").removesuffix(".py")
    session, config = stem.with_name(stem.name + ".sqlite"), stem.with_name(stem.name + ".toml")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", *tests]
    config.write_text(
        "[cosmic-ray]\n"
        f'module-path = "aitom_disca/{module}"\n'
        f"timeout = {timeout_s}\nexcluded-modules = []\n"
        f"test-command = {json.dumps(' '.join(command))}\n"
        '[cosmic-ray.distributor]\nname = "local"\n'
    )
    if not session.exists():
        made = [sys.executable, "-m", "cosmic_ray.cli", "init", str(config), str(session)]
        subprocess.run(made, cwd=checkout, check=True)
    return session


def is_tried(item: WorkItem, lines: list[str]) -> bool:
    """Whether a fault is one that tests could notice."""
    (one,) = item.mutations
    line = lines[one.start_pos[0] - 1]
    typed = line.lstrip().startswith(("from ", "import ", "def ")) or "->" in line
    return not typed and not any(part in one.operator_name for part in _NOT_TRIED)


def draw(session: Path, source: Path, most: int, seed: int) -> None:
    """Mark all but some faults as passed over."""
    lines = source.read_text().split("\n")
    with use_db(session, WorkDB.Mode.open) as db:
        items = sorted(db.work_items, key=lambda item: str(item.mutations[0]))
        # Of the many ways to change one operator one is enough.
        places: dict[tuple[int, int], list[WorkItem]] = {}
        for item in items:
            if is_tried(item, lines):
                places.setdefault(item.mutations[0].start_pos, []).append(item)
        dice = random.Random(seed)
        chosen = [dice.choice(places[at]) for at in dice.sample([*places], min(most, len(places)))]
        kept = {item.job_id for item in chosen}
        done = {item.job_id for item, _ in db.completed_work_items}
        left_out = [i.job_id for i in items if i.job_id not in kept and i.job_id not in done]
        db.set_multiple_results(left_out, WorkResult(WorkerOutcome.SKIPPED))


def outcome(session: Path) -> tuple[Counter[str], list[dict[str, str]]]:
    """How many faults were noticed and how many were not; the latter as differences."""
    found: Counter[str] = Counter()
    survivors = []
    with use_db(session, WorkDB.Mode.open) as db:
        for item, result in db.completed_work_items:
            if result.worker_outcome == WorkerOutcome.SKIPPED:
                continue
            found["killed" if result.is_killed else "survived"] += 1
            if not result.is_killed:
                (one,) = item.mutations
                where = f"{one.module_path}:{one.start_pos[0]}"
                survivors.append({"where": where, "fault": result.diff or ""})
    return found, survivors


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
    work = given.work or Path(tempfile.mkdtemp(prefix="mutation-"))
    work.mkdir(parents=True, exist_ok=True)
    checkout, total, survivors = copied(work), Counter(), []
    for module in given.modules or tests_of:
        session = session_of(module, tests_of[module], checkout, given.timeout_s)
        draw(session, checkout / "aitom_disca" / module, given.most, given.seed)
        config = session.with_suffix(".toml")
        without_fault = tomllib.loads(config.read_text())["cosmic-ray"]["test-command"].split()
        if subprocess.run(without_fault, cwd=checkout, stdout=subprocess.DEVNULL).returncode:
            raise SystemExit(f"the tests of {module} fail without any fault; mend that first.")
        executed = [sys.executable, "-m", "cosmic_ray.cli", "exec", str(config), str(session)]
        subprocess.run(executed, cwd=checkout, check=True)
        found, left = outcome(session)
        total += found
        survivors += left
        print(f"{module}: {found['killed']} of {found.total()} noticed", flush=True)
        for one in left:
            print(one["where"], one["fault"], sep="\n")
        given.out.write_text(json.dumps({"found": total, "survivors": survivors}, indent=1))
    if total:
        print(
            f"{total['killed']} of {total.total()} noticed: {total['killed'] / total.total():.0%}"
        )


if __name__ == "__main__":
    main()
