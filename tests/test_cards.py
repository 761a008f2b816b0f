"""Cards say what the files of a run say, and the verdict follows one rule."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aitom_disca.colours import cluster_colour
from aitom_disca.curation import Curation, Decision
from aitom_disca.io import StoreWriter, open_store, write_labels_csv, write_rows_csv
from aitom_disca.io.tomograms.mrc import write_volume
from aitom_disca.particles import ParticleSet
from aitom_disca.report.cards import ClusterCard, member_slices, ranked
from aitom_disca.report.cards_of_run import by_cluster, cards_of_run
from aitom_disca.report.verdict_of_cluster import judge, noise_in_words
from aitom_disca.runs.run_folder import RunFolder

GOOD = {
    "verdict": "more than noise", "resolution_0.143_angstrom": "32.1", "resolution": "32.1 A",
    "null_test_of": "noise", "p_value": "0.0004", "fit_better_than_null": "0.97",
    "gathered_about_beam": "0.1",
}  # fmt: skip
OTHERS = "members of other clusters"
SIZES = (25, 30, 10)


def make_run(path: Path, rows: dict[int, dict[str, str]]) -> RunFolder:
    """A run of three clusters; the first subtomogram is in none, and all boxes hold their row."""
    folder = RunFolder(path)
    path.mkdir()
    labels = np.repeat([-1, 0, 1, 2], (1, *SIZES))
    n = len(labels)
    with StoreWriter.create(folder.store, (8, 8, 8), 10.0, (-60, 60)) as store:
        volumes = np.random.default_rng(0).normal(size=(n, 8, 8, 8)).astype(np.float32)
        store.append(volumes, ParticleSet(np.array(["t"] * n), np.zeros((n, 3))))
    write_labels_csv(folder.labels, labels, np.linspace(0.5, 1, n))
    np.savez(folder.clusters, averages=np.zeros(0))
    stages: dict[str, Any] = {
        "mine": {"seconds": 1.0, "stability": {"runs": 4, "found": [4, 3, 1]}},
        "audit": {"seconds": 1.0, "warnings": ["Cluster 2 goes with height (z).", "All do."]},
    }
    if rows:
        table = [{"cluster": k, "members": SIZES[k - 1], **row} for k, row in rows.items()]
        stages["average"] = {"seconds": 1.0, "rows": table}
        own = folder.averages / "cluster_01"
        own.mkdir(parents=True)
        write_rows_csv(folder.averages / "averages.csv", table)
        write_volume(own / "filtered.mrc", np.full((8, 8, 8), 7, np.float32), 10.0)
        (own / "surface.png").write_bytes(b"PNG")
    record = {"command": "mine", "inputs": [], "settings": {}, "versions": {}, "stages": stages}
    folder.record_file.write_text(json.dumps(record))
    return RunFolder.open(path)


@pytest.mark.parametrize(
    ("changes", "size", "verdict", "said"),
    [
        ({}, 50, "to be trusted", ""),
        ({}, 13, "look again", "13 members: too few"),
        ({}, 1, "look again", "1 member: too few"),
        ({"gathered_about_beam": "0.2"}, 50, "look again", "gather about the beam"),
        ({"verdict": ""}, 50, "look again", "not tested"),
        ({"verdict": "not judged: members so few"}, 50, "look again", "noise: members so few."),
        (
            {"verdict": "more than noise, but no more than a round density"},
            50, "look again", "same on all sides",
        ),
        ({"verdict": "could not be averaged", "error": "too few."}, 50, "look again", "too few."),
        ({"verdict": "doubtful: not told from noise"}, 50, "not told from noise", "noise would"),
        (
            {"verdict": "doubtful: its halves share nothing"},
            50, "not told from noise", "share nothing",
        ),
        (
            {"verdict": "doubtful: not told from them", "null_test_of": OTHERS},
            50, "look again", f"no better than {OTHERS}",
        ),
    ],
)  # fmt: skip
def test_the_verdict_follows_what_was_measured(
    changes: dict[str, str], size: int, verdict: str, said: str
) -> None:
    found, doubts = judge(GOOD | changes, size)
    assert found == verdict
    assert said in " ".join(doubts) and bool(said) == bool(doubts)


def test_warnings_and_a_change_of_members_are_doubts() -> None:
    assert judge(GOOD, 50, ["It goes with height."]) == ("look again", ["It goes with height."])
    assert judge(GOOD, 50, changed="decision 1")[0] == "look again"
    assert judge(None, 50)[0] == "look again"
    assert judge(None, 50, any_averages=False) == ("not judged", [])


def test_noise_is_put_into_words() -> None:
    assert noise_in_words(None, None, "") == ""
    text = noise_in_words(0.971, 0.00475, "noise")
    assert "in 97 of 100 cases" in text and "once in 200 times" in text
    assert "less than once in a million" in noise_in_words(1.0, 1e-15, "")
    assert "30 times in 100" in noise_in_words(0.5, 0.295, "")


def test_cards_hold_what_the_files_hold(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", {1: GOOD, 2: GOOD})
    with open_store(folder.store) as store:
        cards = cards_of_run(folder, store)
        raw, smooth = member_slices(store, cards[0])
    assert [(card.number, card.rank) for card in cards] == [(1, 1), (2, 2), (3, 3)]
    first, second, third = cards
    assert (first.size, first.verdict, first.resolution) == (25, "to be trusted", "32.1 Å")
    assert first.resolution_angstrom == 32.1 and first.noise_p_value == 0.0004
    assert first.share == 25 / 66 and first.found == "4 of 4 runs"
    assert first.member_rows == tuple(range(25, 16, -1))  # the surest
    assert set(first.pictures) == {"surface"} and first.volume_zyx().mean() == 7
    assert second.doubts == ["Cluster 2 goes with height (z)."]
    assert second.volume_file is None and second.mean_zyx.shape == (8, 8, 8)
    assert third.doubts == ["It was not averaged.", "Cluster 3 was found in 1 of 4 runs only."]
    assert raw.shape == smooth.shape == (9, 8, 8) and smooth.std() < 0.5 * raw.std()


def test_a_mean_stands_where_nothing_was_averaged(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", {})
    with open_store(folder.store) as store:
        cards = cards_of_run(folder, store)
        np.testing.assert_allclose(
            next(c for c in cards if c.number == 1).mean_zyx,
            store.read(np.arange(1, 26)).mean(axis=0),
            atol=1e-6,
        )
    assert {card.verdict for card in cards} == {"not judged"}
    assert not any(card.mean_is_aligned for card in cards)


def test_decisions_change_cards(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", {1: GOOD, 2: GOOD, 3: GOOD})
    Curation(folder.path).add([Decision("merge", (2, 3)), Decision("name", (1,), name="ribosome")])
    with open_store(folder.store) as store:
        first, second = cards_of_run(folder, store)
    assert first.title == "Cluster 1: ribosome" and first.verdict == "to be trusted"
    assert second.size == 40 and second.verdict == "look again"
    assert "decision 1 merged 3 into it" in second.doubts[0]
    assert second.volume_file is None and not second.mean_is_aligned and not second.resolution


def test_warnings_belong_to_the_cluster_that_they_begin_with() -> None:
    texts = ["Cluster 12 is x.", "The average of cluster 2: y.", "Two are like Cluster 3."]
    assert by_cluster(texts) == {12: texts[:1], 2: texts[1:2], 0: texts[2:]}


def test_the_most_to_be_trusted_comes_first() -> None:
    given = [
        ClusterCard(1, 90, 0.3, verdict="not told from noise"),
        ClusterCard(2, 50, 0.3, verdict="look again", doubts=["a", "b"]),
        ClusterCard(3, 40, 0.3, verdict="look again", doubts=["a"]),
        ClusterCard(4, 9, 0.3, verdict="to be trusted", resolution_angstrom=40.0),
        ClusterCard(5, 8, 0.3, verdict="to be trusted", resolution_angstrom=30.0),
    ]
    assert [card.number for card in ranked(given)] == [5, 4, 3, 2, 1]


def test_colours_are_hex_and_begin_again() -> None:
    assert len({cluster_colour(k) for k in range(10)}) == 10
    assert cluster_colour(10) == cluster_colour(0) != cluster_colour(-1)
    assert all(re.fullmatch("#[0-9a-f]{6}", cluster_colour(k)) for k in range(-1, 10))


def test_cards_are_quick_to_import() -> None:
    code = (
        "import sys; import aitom_disca.report.cards; "
        "print([m for m in ('matplotlib', 'pandas', 'h5py', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
