"""What the report says against a run, and what it says was checked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aitom_disca.doctor import measured_wedge, polarity
from aitom_disca.doctor.outcome import Check
from aitom_disca.errors import InputError
from aitom_disca.report.run_checks import (
    checks_of_tomograms,
    nuisance_of_run,
    problems_of_run,
    remarks_of_run,
)
from aitom_disca.runs.run_folder import RunFolder


def a_run(path: Path, **stages: Any) -> RunFolder:
    folder = RunFolder(path)
    folder.record = {"stages": {"mine": {"converged": True}, **stages}}
    return folder


def test_what_is_wrong_with_the_whole_run_is_said(tmp_path: Path) -> None:
    history = [{"iteration": 0, "event": None}, {"iteration": 2, "event": "it stopped"}]
    assert problems_of_run(a_run(tmp_path), history[:1]) == []
    restless = a_run(tmp_path, search={"converged": False})
    stopped, unrest = problems_of_run(restless, history)
    assert stopped == "Iteration 2: it stopped." and "still changed" in unrest


def test_the_audit_names_the_clusters_that_it_warns_of(tmp_path: Path) -> None:
    assert nuisance_of_run(a_run(tmp_path)) is None
    assert nuisance_of_run(a_run(tmp_path, audit={"warnings": []})).well
    warnings = ["Cluster 7 goes with x.", "Cluster 2 is y.", "All go with z."]
    looked = nuisance_of_run(a_run(tmp_path, audit={"warnings": warnings}))
    assert not looked.well and not looked.serious
    assert looked.found == "There are warnings on the cards of clusters 2, 7. All go with z."


def test_dropped_picks_and_decisions_are_remarked(tmp_path: Path) -> None:
    assert remarks_of_run(a_run(tmp_path)) == []
    folder = a_run(tmp_path, extract={"n_dropped_border": 1})
    folder.curation.write_text("{}")
    dropped, decided = remarks_of_run(folder)
    assert dropped.startswith("1 pick was too near") and "A person decided" in decided


def test_a_tomogram_that_is_not_what_was_said_is_serious(monkeypatch: pytest.MonkeyPatch) -> None:
    def wedge_of(tomogram: Any) -> Check:
        if tomogram.name == "c":
            raise InputError("it cannot be read.")
        return Check("tilt range", "warning", "power from -40 to 40", "check the series")

    found = Check("polarity", "ok", "9 of the 9 blobs of 200 A are dark")
    monkeypatch.setattr(polarity, "check_polarity", lambda *_: found)
    monkeypatch.setattr(measured_wedge, "check_wedge", wedge_of)
    tomograms: list[Any] = [SimpleNamespace(name=name) for name in "abc"]
    looked = checks_of_tomograms(tomograms, 200.0)
    assert [(one.name, one.well, one.serious) for one in looked] == [
        ("Polarity of a", True, False), ("Tilt range of a", False, True),
        ("Polarity of b", True, False), ("Tilt range of b", False, True),
    ]  # fmt: skip
    assert looked[0].found == "as it was taken to be (9 of the 9 blobs of 200 Å are dark)."
    assert looked[1].found == "power from -40 to 40; check the series."
    assert checks_of_tomograms([], 200.0) == []
