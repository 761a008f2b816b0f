"""`curate --suggest`: what is proposed from the tables of a run, why, and what cannot be judged."""

import json
import re
import shlex
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from aitom_disca.cli.app import main
from aitom_disca.curation import Curation, Decision, averages
from aitom_disca.io import write_labels_csv, write_rows_csv
from aitom_disca.pipeline.suggest import suggest

SIZES = (60, 30, 12, 9, 50)
VERDICTS = (
    "more than noise, but no more than a round density",
    "more than noise",
    "doubtful: not told from noise",
    "doubtful: its halves share nothing",
    "not judged: members so few",
)
RESOLUTIONS = (30.0, 25.0, 70.0, "", 60.0)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Labels and tables of a run of five clusters, whose store is gone."""
    write_labels_csv(tmp_path / "labels.csv", np.repeat(np.arange(5), SIZES))
    rows = [
        {
            "cluster": k + 1,
            "members": SIZES[k],
            "resolution_0.143_angstrom": RESOLUTIONS[k],
            "verdict": VERDICTS[k],
            "p_value": 0.3 if k == 2 else "",
        }
        for k in range(5)
    ]
    write_rows_csv(tmp_path / "averages" / "averages.csv", rows)
    keys = ("cluster", "property", "tells_apart", "large")
    table = [
        ("all", "height", 0.9, 1),
        (1, "mean intensity", 0.95, 1),  # as heavier structures have it
        (2, "height", 0.97, 1),  # its average is more than noise
        (5, "height", 0.91, 1),
        (5, "distance to border", 0.88, 1),
        (4, "height", 0.6, 0),
    ]
    write_rows_csv(tmp_path / "nuisance.csv", [dict(zip(keys, r, strict=True)) for r in table])
    return tmp_path


def identified(results: Path, *rows: tuple[int, float, str]) -> None:
    more = {"second": "rod", "over_second": 0.2, "over_noise": 0.3}
    table = [{"cluster": k, "score": s, "proposed": name, **more} for k, s, name in rows]
    write_rows_csv(results / "averages" / "identified.csv", table)


def proposed(results: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    capsys.readouterr()
    assert main(["curate", str(results), "--suggest", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_proposal_has_its_reason_and_command(results: Path, capsys) -> None:
    identified(results, (1, 0.7, "ring"), (2, 0.9, "ring"), (3, 0.9, "rod"), (5, 0.8, ""))
    before = {path: path.read_bytes() for path in results.rglob("*.*")}
    made = proposed(results, capsys)
    reasons = {(one["action"], *one["clusters"]): one["reason"] for one in made["suggestions"]}
    assert [*reasons] == [
        ("drop", 3), ("drop", 4), ("drop", 5), ("name", 2), ("split", 1)
    ]  # fmt: skip
    assert "12 members" in reasons["drop", 3] and "probability of 0.3" in reasons["drop", 3]
    assert "share nothing" in reasons["drop", 4]
    assert "height alone" in reasons["drop", 5] and "91 %" in reasons["drop", 5]
    assert "likest to ring" in reasons["name", 2]
    assert "no more than a round density" in reasons["split", 1]
    not_judged = " ".join(made["not_judged"])
    assert "whether cluster 5 is noise" in not_judged and "no store is known" in not_judged
    assert {path: path.read_bytes() for path in results.rglob("*.*")} == before
    commands = [one["command"] for one in made["suggestions"] if one["action"] != "split"]
    assert commands[-1] == f"aitom-disca curate {results} --name 2=ring"
    for command in commands:  # they are what they say
        assert main(shlex.split(command)[1:]) == 0


def test_what_decisions_changed_is_not_judged_by_what_was_before(results: Path, capsys) -> None:
    identified(results, (1, 0.7, "ring"))
    Curation(results).add([Decision("merge", (3, 4)), Decision("move", (), (0,))])
    made = proposed(results, capsys)
    assert {*(one["clusters"][0] for one in made["suggestions"])} == {5}
    not_judged = " ".join(made["not_judged"])
    assert re.search(r"cluster 3 .*decision 1 merged 4", not_judged)
    assert re.search(r"cluster 1 .*decision 2 moved", not_judged)
    assert "--cluster 1 --cluster 3 --overwrite" in not_judged


def test_a_coarser_average_of_more_members_is_to_be_sorted_again(results: Path, capsys) -> None:
    (results / "nuisance.csv").unlink()
    made = proposed(results, capsys)
    again = [one for one in made["suggestions"] if one["action"] == "split"]
    assert [one["clusters"] for one in again] == [[1], [5]]
    assert "shows 60 A, where one of fewer members shows 25 A" in again[1]["reason"]
    assert any("nuisance.csv" in text for text in made["not_judged"])


def test_without_tables_it_is_said_what_is_wanting(tmp_path: Path, capsys) -> None:
    write_labels_csv(tmp_path / "labels.csv", np.zeros(30, int))
    assert main(["curate", str(tmp_path), "--suggest"]) == 0
    said = capsys.readouterr().out
    assert "nothing to suggest" in said and "aitom-disca average STORE" in said
    assert "aitom-disca identify" in said and "nuisance.csv" in said
    assert main(["curate", str(tmp_path), "--suggest", "--drop", "1"]) == 2
    assert main(["curate", str(tmp_path / "nowhere"), "--suggest"]) == 2


@pytest.mark.parametrize(
    "table", ["nuisance.csv", "averages/averages.csv", "averages/identified.csv"]
)
def test_damaged_tables_are_named(results: Path, capsys, table: str) -> None:
    identified(results, (1, 0.7, "ring"))
    file = results / table
    file.write_text(file.read_text().replace("cluster", "kluster"))
    assert main(["curate", str(results), "--suggest"]) == 2
    assert file.name in capsys.readouterr().err


def test_averages_are_compared_with_their_clusters_once(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Mock(wraps=averages.averages_now)
    monkeypatch.setattr(averages, "averages_now", asked)
    identified(results, (2, 0.9, "ring"))
    assert any(one.action == "name" for one in suggest(results).found)
    assert asked.call_count == 1
