"""Damaged files of a finished run, and every command that reads them: one sentence, exit code 2."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import random
import shutil
import time

import pytest
from damage import LONGEST_S, N_CASES, SEED, Counter, TooLong, _note, damaged, limits

pytest.importorskip("keras")

from tiny_settings import MINE

from aitom_disca import pipeline
from aitom_disca.cli.app import main
from aitom_disca.config import ExtractSettings, PickSettings, RunSettings
from aitom_disca.io import open_tomogram, write_volume
from aitom_disca.simulation import load_phantoms, simulate_tomogram

pytestmark = pytest.mark.campaign
TEXTS = (".json", ".csv", ".star", ".html")
COMMANDS = {
    "report": ["report", "run"],
    "export": ["export", "run/subtomograms.h5", "--labels", "run/labels.csv", "--out", "o"],
    "predict": ["predict", "run/subtomograms.h5", "--model", "run/model.h5", "--out", "o"],
    "average": [
        "average",
        "run/subtomograms.h5",
        "--labels",
        "run/labels.csv",
        "--out",
        "o",
        "--null-test",
        "none",
    ],
    "embed": ["embed", "run/subtomograms.h5", "--averages", "averages", "--out", "o"],
    "convert": ["convert", "run/particles.star", "o.csv", "--to", "csv"],
    "extract": ["extract", "t.mrc", "--picks", "run/picks.csv", "--out", "o.h5", "--box-px", "12"],
}
_COMPUTES_S = {"average": 180}  # where the fault does no harm
SLOW = {"report": 4, "average": 8}  # so many times fewer cases
READ = {  # by each command
    "report": "run.json clusters.npz nuisance.csv labels.csv history.csv subtomograms.h5".split(),
    "export": ["subtomograms.h5", "labels.csv"],
    "predict": ["subtomograms.h5", "model.h5"],
    "average": ["subtomograms.h5", "labels.csv"],
    "embed": ["subtomograms.h5", "averages/averages.csv", "averages/cluster_01/particles.star",
              "averages/cluster_01/average.mrc", "averages/cluster_01/mask.mrc"],
    "convert": ["particles.star"],
    "extract": ["picks.csv", "t.mrc"],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run, and averages of its clusters."""
    folder = tmp_path_factory.mktemp("results")
    phantoms = load_phantoms()
    made = simulate_tomogram(
        [phantoms["ring"], phantoms["rod"]],
        24,
        (40, 90, 100),
        20.0,
        snr=2.0,
        seed=5,
        gap_px=3,
        border_px=5,
    )
    write_volume(folder / "t.mrc", made.volume, 20.0, tilt_range_deg=(-60, 60))
    settings = RunSettings(
        pick=PickSettings(particle_diameter_angstrom=220),
        extract=ExtractSettings(particle_diameter_angstrom=220, box_px=14),
        mine=MINE,
        until="mine",
    )
    pipeline.run([open_tomogram(folder / "t.mrc")], folder / "run", settings)
    store = folder / "run" / "subtomograms.h5"
    pipeline.average_store(store, folder / "averages", labels=folder / "run" / "labels.csv")
    return folder


def _places(value, place=()):
    """Every place in a record: keys and numbers that lead there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2])
    for key, one in inner:
        yield (*place, key)
        if isinstance(one, dict | list):
            yield from _places(one, (*place, key))


def test_a_record_with_any_other_value_is_one_sentence(folder, monkeypatch, capsys):
    monkeypatch.setattr("aitom_disca.report.collect.views_of_run", lambda *_: ([], []))
    monkeypatch.setattr("aitom_disca.report.collect.checks_of_tomograms", lambda *_: [])
    path = folder / "run" / "run.json"
    whole, rng, found = path.read_text(), random.Random(SEED), Counter[str]()
    places = list(_places(json.loads(whole)))
    for case in range(N_CASES):
        record = inner = json.loads(whole)
        *way, last = rng.choice(places)
        for key in way:
            inner = inner[key]
        inner[last] = rng.choice((None, -1, "x", [], {}, 1e308))
        if rng.random() < 0.2:
            del inner[last]
        path.write_text(json.dumps(record))
        try:
            code = main(["report", str(folder / "run")])
        finally:
            path.write_text(whole)
        said = capsys.readouterr().err
        assert code in (0, 2) and "unexpected" not in said, (case, way, last, said)
        found["refused" if code else "done"] += 1
    _note("report of a record with another value", N_CASES, found, 0.0)


@pytest.mark.parametrize("command", READ)
def test_commands_end_with_one_sentence(folder, monkeypatch, command):
    monkeypatch.chdir(folder)
    rng = random.Random(f"{SEED} {command}")
    paths = [folder / name if "/" in name or name == "t.mrc" else folder / "run" / name
             for name in READ[command]]  # fmt: skip
    paths = [path for path in paths if path.exists()]
    found, slowest = Counter[str](), 0.0
    n = max(1, N_CASES // SLOW.get(command, 1))
    for case in range(n):
        path = rng.choice(paths)
        whole = path.read_bytes()
        for made in ("o", "o.csv", "o.h5"):
            shutil.rmtree(made, ignore_errors=True)
            (folder / made).unlink(missing_ok=True)
        where = f"{command}, case {case} of seed {SEED}: {path.name}"
        try:
            path.write_bytes(damaged(whole, rng, text=path.suffix in TEXTS))
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                logging.getLogger("aitom_disca").handlers.clear()
                start = time.perf_counter()
                with limits(_COMPUTES_S.get(command, LONGEST_S)):
                    code = main(list(COMMANDS[command]))
        except TooLong as error:
            raise AssertionError(f"{where} took too long") from error
        finally:
            path.write_bytes(whole)
        last = said.getvalue().splitlines()[-1:] or [""]
        assert code in (0, 2), f"{where}: {last}"
        assert "unexpected" not in said.getvalue() and "Traceback" not in said.getvalue(), where
        assert code == 0 or last[0].startswith("error: "), where
        left = [p.name for p in folder.rglob(".*.part*")]
        assert not left, f"{where} left {left}"
        found["refused" if code else "done"] += 1
        slowest = max(slowest, time.perf_counter() - start)
    _note(f"{command} of damaged results", n, found, slowest)
