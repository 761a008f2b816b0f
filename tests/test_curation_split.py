"""Members of known clusters: sorted again to split one, asked whether two are one."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aitom_disca.cli.app import main
from aitom_disca.curation import Curation, Decision
from aitom_disca.curation.replay import of_clusters
from aitom_disca.io import read_labels_csv, write_labels_csv
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.pipeline import split_cluster
from aitom_disca.pipeline.suggest import suggest
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

BOX, VOXEL, N, TILT = 12, 20.0, 30, (-60.0, 60.0)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two structures in cluster 1, and four more subtomograms in cluster 2."""
    folder = tmp_path_factory.mktemp("mixed")
    shapes = [load_phantoms()[name] for name in ("ring", "rod")]
    made = simulate_subtomograms(shapes, (N + 4) // 2, BOX, VOXEL, 2.0, TILT, 1.0, seed=2)
    write_store(folder / "subtomograms.h5", made.volumes)
    write_labels_csv(folder / "labels.csv", np.repeat([0, 1], (N, 4)), np.full(N + 4, 0.8))
    np.save(folder / "truth.npy", made.labels)
    return folder


def write_store(path: Path, volumes: np.ndarray, shift: float = 0) -> None:
    places = np.column_stack([np.arange(len(volumes)) + 20.0 + shift] * 3)
    info = TomogramInfo("TS_1", VOXEL, (90, 90, 90))
    particles = ParticleSet(np.full(len(volumes), "TS_1"), places, tomograms={"TS_1": info})
    with StoreWriter.create(path, (BOX,) * 3, VOXEL, TILT, {"TS_1": info}) as store:
        store.append(volumes, particles)


@pytest.fixture
def results(mixed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mixed, tmp_path / "results"))


@pytest.fixture
def in_halves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In place of sorting: the first and the second half, but for the last one; seeds that came."""
    seeds: list[int] = []

    def sort(_, rows: np.ndarray, settings: object, seed: int) -> np.ndarray:
        seeds.append(seed)
        return np.where(np.arange(len(rows)) == len(rows) - 1, -1, np.arange(len(rows)) // 16)

    monkeypatch.setattr(split_cluster, "sorted_again", sort)
    return seeds


def labels(folder: Path) -> np.ndarray:
    return read_labels_csv(folder / "labels.csv")[0] + 1


def test_two_structures_in_a_cluster_come_apart(results: Path) -> None:
    truth = np.load(results / "truth.npy")[:N]
    assert main(["curate", str(results), "--split", "1", "--seed", "3"]) == 0
    found = labels(results)[:N]
    assert {*found} - {0} == {1, 3} and np.mean(found == 0) < 0.2
    assigned = found > 0
    agree = np.mean((found[assigned] == 3) == truth[assigned])
    assert max(agree, 1 - agree) > 0.9
    assert (labels(results)[N:] == 2).all()


def test_clusters_of_one_structure_are_proposed_to_be_merged(results: Path) -> None:
    whole = np.load(results / "truth.npy")
    halves = np.where(whole == 0, np.arange(len(whole)) % 2 * 2, 1)  # 0 and 2 are one
    write_labels_csv(results / "labels.csv", halves)
    before = (results / "labels.csv").read_text()
    found = suggest(results)
    assert [(one.action, {*one.clusters}) for one in found.found] == [("merge", {1, 3})]
    assert found.found[0].evidence["z"] > found.found[0].evidence["limit"]
    assert any("for want of averages" in text for text in found.not_judged)
    assert (results / "labels.csv").read_text() == before
    assert not (results / "curation.json").exists()


def test_a_split_is_recorded_undone_and_replayed(
    results: Path, tmp_path: Path, in_halves: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    again = Path(shutil.copytree(results, tmp_path / "again"))
    command = ["curate", str(results), "--split", "1", "--seed", "5", "--name", "2=b"]
    assert main(command) == 0
    expected = np.repeat([1, 3, 0, 2], (16, 13, 1, 4))
    np.testing.assert_array_equal(labels(results), expected)
    text = (results / "curation.json").read_text()
    one = json.loads(text)["decisions"][1]
    assert one["seed"] == 5 and one["clusters"] == [1, 3] and one["particles"] == [29]
    assert one["parts"] == [[*range(16)], [*range(16, 29)]] and len(text.splitlines()) < 60
    assert main(["curate", str(again), "--replay", str(results / "curation.json")]) == 0
    assert (again / "labels.csv").read_text() == (results / "labels.csv").read_text()
    assert in_halves == [5]  # the replay took the parts as they stood
    assert main(["curate", str(again), "--undo"]) == 0
    assert {*labels(again)} == {1, 2}
    assert main(["curate", str(again), "--merge", "1+2"]) == 0
    capsys.readouterr()
    assert main(["curate", str(again), "--merge", "1+3"]) == 2  # no number comes twice
    assert "no cluster 3 (the clusters are 1)" in capsys.readouterr().err


def test_on_other_particles_a_split_is_made_anew_and_moves_are_refused(
    results: Path, tmp_path: Path, in_halves: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["curate", str(results), "--split", "1"]) == 0
    other = tmp_path / "other"
    other.mkdir()
    write_store(other / "subtomograms.h5", np.ones((N + 4, BOX, BOX, BOX), np.float32), shift=3)
    write_labels_csv(other / "labels.csv", np.zeros(N + 4, int))
    replay = ["curate", str(other), "--replay", str(results / "curation.json")]
    assert main(replay) == 0 and len(in_halves) == 2
    assert {*labels(other)} == {0, 1, 3, 4}
    assert main(["curate", str(results), "--move", "3=2"]) == 0
    assert main(replay) == 2
    said = capsys.readouterr().err
    assert re.search(r"decision 2 of .* \(move 1 particle to cluster 2\) does not fit", said)
    assert "another store" in said
    strange = ["curate", str(other), "--drop", "1", "--store", str(results / "subtomograms.h5")]
    assert main(strange) == 2 and "other particles" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--split", "1"], "decision 1 (split 1 (seed 0)) does not fit: the members of cluster 1"),
        (["--split", "2"], "cluster 2 has 4 members; 24 members at least"),
        (["--split", "7"], "cluster 7 does not exist"),
        (["--split", "1,2"], "--split takes one cluster"),
    ],
)
def test_what_cannot_be_split_stays(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys, options: list[str], said: str
) -> None:
    monkeypatch.setattr(
        split_cluster, "sorted_again", lambda _, rows, *__: np.zeros(len(rows), int)
    )
    assert main(["curate", str(results), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (results / "curation.json").exists()
    (results / "subtomograms.h5").unlink()
    assert main(["curate", str(results), "--split", "1"]) == 2
    assert "no store is known" in capsys.readouterr().err


def test_a_split_of_other_members_is_refused_with_its_line(results: Path) -> None:
    one = Decision("split", (1, 3), (29,), (tuple(range(16)), tuple(range(16, 29))))
    curation = Curation(results)
    with pytest.raises(ValueError, match=r"decision 2 \(split 1 .*other members.*--split 1"):
        curation.add([Decision("move", (2,), (0,)), one])
    with pytest.raises(ValueError, match=r"decision 1 .*cannot be called 2"):
        curation.add([replace(one, clusters=(1, 2))])


def test_parts_are_left_out_for_other_particles() -> None:
    split = Decision("split", (4, 8), (), ((0,), (1,)))
    names = [Decision("name", (k,), name=f"n{k}") for k in (4, 8, 2)]
    found = of_clusters([split, *names, Decision("move", (2,), (5,)), Decision("keep", (8, 2))])
    assert [str(one) for one in found] == ["name 2 'n2'", "keep only 4, 2"]
