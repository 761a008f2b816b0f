"""Decisions about clusters: kept, replayed, undone, and followed by labels and star files."""

import json
from pathlib import Path

import numpy as np
import pytest

from aitom_disca.cli.app import main
from aitom_disca.curation import Curation, Decision, apply_decisions, decided
from aitom_disca.errors import InputError
from aitom_disca.io import read_labels_csv, read_particles_star, write_labels_csv
from aitom_disca.io.result_tables import read_rows_csv
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.particles import ParticleSet, TomogramInfo

LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 3, -1, -1])
POSTERIOR = np.where(LABELS < 0, 0.0, 0.9)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A store of ten particles in four clusters, in a folder as a run leaves it."""
    info = TomogramInfo((40, 40, 40), 10.0)
    places = np.column_stack([np.arange(10.0) + 10] * 3)
    particles = ParticleSet(np.full(10, "TS_1"), places, tomograms={"TS_1": info})
    with StoreWriter.create(tmp_path / "subtomograms.h5", (4, 4, 4), 10.0, (-60, 60)) as store:
        store.append(np.ones((10, 4, 4, 4), np.float32), particles)
    agreement = {"agreement": np.linspace(0, 1, 10)}
    write_labels_csv(tmp_path / "labels.csv", LABELS, POSTERIOR, more=agreement)
    return tmp_path


def curate(results: Path, *options: str) -> int:
    return main(["curate", str(results), *options])


def labels(results: Path) -> list[int]:
    return (read_labels_csv(results / "labels.csv")[0] + 1).tolist()


def test_labels_and_star_files_follow(results: Path) -> None:
    before = (results / "labels.csv").read_text()
    assert curate(results, "--merge", "1+3", "--drop", "2", "--name", "1=small ribosome",
                  "--why", "they look alike", "--who", "R. F.") == 0  # fmt: skip
    assert labels(results) == [1, 1, 0, 0, 1, 1, 4, 4, 0, 0]
    assert (results / "labels_sorted.csv").read_text() == before
    stars = sorted(path.name for path in (results / "clusters").iterdir())
    assert stars == ["cluster_01_small-ribosome.star", "cluster_04.star"]
    kept = read_particles_star(results / "particles.star")
    assert kept.more["aitomDiscaClusterName"].tolist() == ["small_ribosome"] * 4 + ["None"] * 2
    np.testing.assert_array_equal(kept.cluster, [0, 0, 0, 0, 3, 3])
    assert len(read_particles_star(results / "junk" / "noise.star")) == 4
    record = json.loads((results / "curation.json").read_text())
    first = record["decisions"][0]
    assert first["why"] == "they look alike" and first["who"] == "R. F." and first["date"]
    rows = read_rows_csv(results / "labels.csv")
    assert rows[2]["posterior"] == "0" and rows[4]["posterior"] == "0.9"
    assert rows[9]["agreement"] == "1"  # further columns stay


def test_decisions_are_undone_and_replayed(results: Path, tmp_path: Path) -> None:
    before = (results / "labels.csv").read_text()
    assert curate(results, "--merge", "1+3", "--junk", "2=gold") == 0
    assert len(read_particles_star(results / "junk" / "curated_gold.star")) == 2
    assert curate(results, "--undo") == 0 and labels(results) == [1, 1, 2, 2, 1, 1, 4, 4, 0, 0]
    assert not (results / "junk" / "curated_gold.star").exists()
    assert curate(results, "--move", "8,9=4", "--move", "0=0") == 0
    curated = (results / "labels.csv").read_text()
    assert labels(results) == [0, 1, 2, 2, 1, 1, 4, 4, 4, 4]
    assert read_rows_csv(results / "labels.csv")[8]["posterior"] == "1"
    again = tmp_path / "again"
    again.mkdir()
    (again / "labels.csv").write_text(before)
    assert curate(again, "--replay", str(results / "curation.json")) == 0
    assert (again / "labels.csv").read_text() == curated
    for _ in range(3):
        assert curate(results, "--undo") == 0
    assert (results / "labels.csv").read_text() == before
    assert curate(results, "--undo") == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--merge", "1"], "two clusters or more"),
        (["--merge", "1+1"], "named twice"),
        (["--merge", "1+9"], "there is no cluster 9 (the clusters are 1, 2, 3, 4)"),
        (["--merge", "1+2", "--drop", "2"], "decision 1 merged it into 1"),
        (["--drop", "0"], "counted from 1"),
        (["--drop", "x"], "whole numbers"),
        (["--name", "1"], "NUMBER=NAME"),
        (["--name", "1=a/b"], "leave out quotes, slashes"),
        (["--name", "1=a", "--name", "2=a"], "called 'a' already"),
        (["--move", "3"], "INDEX,INDEX=CLUSTER"),
        (["--move", "77=1"], "there is no particle 77"),
        (["--move", "7=9"], "there is no cluster 9 to move"),
        (["--move", "=3"], "whole numbers"),
        (["--move", "1=2,3"], "takes one cluster"),
        (["--keep-only", "1,9"], "decision 1 (keep only 1, 9) does not fit: there is no cluster 9"),
        (["--junk", "9=gold"], "decision 1 (call 9 junk (gold)) does not fit"),
        (["--name", "1,2=a"], "a name is that of one cluster"),
        (["--name", "1="], "1 to 60 characters"),
        (["--name", f"1={'x' * 61}"], "1 to 60 characters"),
        (["--drop", "2", "--name", "2=a"], "there is no cluster 2 (decision 1 left it out)"),
        (["--undo"], "decision 1: there is nothing to undo"),
    ],
)
def test_what_does_not_fit_writes_nothing(
    results: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    before = sorted(results.rglob("*"))
    assert curate(results, *options) == 2
    assert said in capsys.readouterr().err
    assert sorted(results.rglob("*")) == before


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (["merge"], "a decision with an action"),
        ({"clusters": [1, 2]}, "expected a decision with action"),
        ({"action": "merge", "clusters": [1, 2], "colour": "red"}, "colour"),
        ({"action": "paint", "clusters": [1]}, "merge, drop"),
        ({"action": "drop", "clusters": [1.5]}, "whole numbers as clusters"),
        ({"action": "drop", "clusters": [1], "why": 3}, "text as why"),
        ({"action": "move", "clusters": [1]}, "expected particles to move"),
        ({"action": "split", "clusters": [1, 2], "parts": [3]}, "lists of whole numbers as parts"),
        ({"action": "split", "clusters": [1], "parts": [[0], [1]]}, "2 parts and 1 numbers"),
        ({"action": "split", "clusters": [1], "seed": "x"}, "whole number as seed"),
    ],
)
def test_a_decision_in_a_file_that_makes_no_sense_is_refused_with_its_line(
    results: Path, capsys: pytest.CaptureFixture[str], record: object, said: str
) -> None:
    Curation(results).add([Decision("drop", (2,))])
    text = json.loads((results / "curation.json").read_text())
    text["decisions"].append(record)
    other = results / "other.json"
    other.write_text(json.dumps(text))
    before = (results / "labels.csv").read_text()
    assert curate(results, "--replay", str(other)) == 2
    error = capsys.readouterr().err
    assert f"{other}, decision 2: " in error and said in error
    assert (results / "labels.csv").read_text() == before


def test_a_replayed_decision_that_does_not_fit_is_refused_with_its_line(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert curate(results, "--name", "2=b") == curate(results, "--undo") == 0
    assert curate(results, "--name", "1=a", "--drop", "4") == 0
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    write_labels_csv(fewer / "labels.csv", LABELS[:6])
    assert curate(fewer, "--replay", str(results / "curation.json")) == 2
    said = capsys.readouterr().err
    assert "decision 3 of " in said and "(drop 4) does not fit: there is no cluster 4" in said
    assert [path.name for path in fewer.iterdir()] == ["labels.csv"]


def test_two_who_decide_at_once_do_not_lose_what_the_other_decided(results: Path) -> None:
    one, other = Curation(results), Curation(results)
    other.add([Decision("drop", (4,))])
    with pytest.raises(InputError, match="while this one was made"):
        one.add([Decision("merge", (1, 2))])
    assert [d.action for d in Curation(results).decisions] == ["drop"]
    other.add([Decision("merge", (1, 2))])
    assert len(Curation(results).decisions) == 2


def test_labels_made_anew_are_not_overwritten(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert curate(results, "--name", "1=a") == 0
    write_labels_csv(results / "labels.csv", LABELS[::-1])
    assert decided(results / "labels.csv") == ({}, {})
    assert curate(results, "--drop", "2") == 2
    assert "made anew" in capsys.readouterr().err


def test_stopped_between_its_two_files_it_goes_on(results: Path) -> None:
    before = (results / "labels.csv").read_text()
    Curation(results).add([Decision("merge", (1, 2))])
    after = (results / "labels.csv").read_text()
    (results / "labels.csv").write_text(before)
    with pytest.raises(InputError, match="run aitom-disca curate"):
        decided(results / "labels.csv")
    assert Curation(results).curated().labels.tolist() == [0, 0, 0, 0, 2, 2, 3, 3, -1, -1]
    assert (results / "labels.csv").read_text() == after


@pytest.mark.parametrize(
    "text", ["", "[]", '{"decisions": []}', '{"aitom_disca_curation": 9, "decisions": 1}']
)
def test_damaged_decisions_are_refused(results: Path, text: str) -> None:
    (results / "curation.json").write_text(text)
    with pytest.raises(InputError, match=r"curation\.json"):
        Curation(results)


def test_keep_only_and_names_of_what_is_gone() -> None:
    made = apply_decisions(
        LABELS,
        [Decision("name", (2,), name="b"), Decision("keep", (1, 2)), Decision("merge", (1, 2))],
    )
    assert made.clusters() == [1] and made.names == {1: "b"}
    assert "decision 2 left it out" in made.gone[3]


def test_clusters_without_members_can_be_decided_about() -> None:
    decisions = [Decision("merge", (7, 1)), Decision("name", (7,), name="seven")]
    made = apply_decisions(np.array([0, 1]), decisions, n_clusters=8)
    assert made.labels.tolist() == [6, 1] and made.names == {7: "seven"}
    with pytest.raises(InputError, match="no cluster 9"):
        apply_decisions(np.array([0, 1]), [Decision("drop", (9,))], n_clusters=8)


def test_labels_of_a_run_are_refused_for_other_particles(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "subtomograms.h5"
    record = {"command": "mine", "inputs": [str(own)], "settings": {}, "versions": {}, "stages": {}}
    (results / "run.json").write_text(json.dumps(record))

    def store(name: str, voxel: float, first: float) -> str:
        info = TomogramInfo((40, 40, 40), voxel)
        places = np.column_stack([np.arange(10.0) + first] * 3) * 10 / voxel
        particles = ParticleSet(np.full(10, "TS_1"), places, tomograms={"TS_1": info})
        with StoreWriter.create(tmp_path / name, (4, 4, 4), voxel, (-60, 60)) as writer:
            writer.append(np.ones((10, 4, 4, 4), np.float32), particles)
        return str(tmp_path / name)

    def export(path: str) -> int:
        into = ["--out", str(tmp_path / "stars"), "--overwrite"]
        return main(["export", path, "--labels", str(results / "labels.csv"), *into])

    assert export(str(own)) == 0
    assert export(store("binned.h5", 20.0, 10.4)) == 0  # the same picks, half a voxel off
    assert export(store("other.h5", 10.0, 14.0)) == 2
    assert "the particles of" in capsys.readouterr().err


def test_the_file_says_of_how_many_clusters_the_labels_were(results: Path) -> None:
    file = results / "curation.json"
    Curation(results).add([Decision("drop", (4,))])
    assert json.loads(file.read_text())["n_clusters"] == 4
    file.write_text(file.read_text().replace('"n_clusters": 4', '"n_clusters": 0'))  # an older one
    Curation(results).add([Decision("drop", (3,))])
    assert json.loads(file.read_text())["n_clusters"] == 4


def test_names_in_any_script_are_kept_and_plain_in_file_names(results: Path) -> None:
    assert curate(results, "--name", "1=核糖体", "--name", "2=protéasome α") == 0
    assert curate(results, "--junk", "3=золото", "--junk", "4=краска") == 0
    stars = {path.relative_to(results).as_posix() for path in results.rglob("*.star")}
    assert stars == {
        "particles.star",
        "clusters/cluster_01.star",
        "clusters/cluster_02_proteasome-alpha.star",
        "junk/curated_other.star",
        "junk/curated_other-2.star",
        "junk/noise.star",
    }
    kept = read_particles_star(results / "particles.star")
    assert {*kept.more["aitomDiscaClusterName"]} == {"核糖体", "protéasome_α"}


def test_one_of_a_kind_is_said_as_one(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert curate(results, "--keep-only", "4", "--move", "6=0", "--name", "4=a") == 0
    said = capsys.readouterr().out
    assert "3 decisions added, 1 cluster left" in said
    assert "cluster 4 a: 1 subtomogram\n" in said
