"""The scorer of cells, on a case made by hand whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aitom_disca.bench import whole_cells
from aitom_disca.bench.case_data import TemplateSet, load_templates
from aitom_disca.bench.cell_averages import compare_with_templates, through_lens
from aitom_disca.bench.cell_scores import score_cells
from aitom_disca.cli import main
from aitom_disca.errors import InputError
from aitom_disca.io import StoreWriter, write_labels_csv, write_particles_star, write_picks_csv
from aitom_disca.io.tomograms.mrc import write_volume
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.simulation import load_phantoms, match_picks
from aitom_disca.simulation.cell import CellRecipe, CellTruth, Imaging

INFO = TomogramInfo("cell_good", 10.0, (100, 200, 200))
# Five large and four small ones in the middle, a large one at the face, a filler and a bead.
CENTERS = [(50, 50, x) for x in range(30, 180, 30)] + [(50, 100, x) for x in (30, 60, 90, 120)]
CENTERS += [(50, 10, 100), (50, 150, 40), (50, 150, 80)]
KINDS = ["large"] * 5 + ["small"] * 4 + ["large", "tiny", "gold"]
ROLES = ["abundant"] * 10 + ["filler", "gold"]


@pytest.fixture
def truth() -> CellTruth:
    radius = np.array([14.0] * 5 + [4.0] * 4 + [14.0, 5.0, 5.0])
    n, places = len(KINDS), np.array(CENTERS, float)
    names = np.full(n, "cell"), np.array(KINDS), np.array(ROLES)
    return CellTruth(*names, places, np.zeros((n, 3)), radius)


def write_run(folder, places, labels, *, star=True) -> None:
    """A run whose subtomograms are its picks."""
    places = np.array(places, float)
    picks = ParticleSet(
        np.full(len(places), INFO.name), places, np.ones(len(places)), tomograms={INFO.name: INFO}
    )
    folder.mkdir(exist_ok=True)
    write_picks_csv(folder / "picks.csv", picks)
    write_labels_csv(folder / "labels.csv", np.array(labels))
    with StoreWriter.create(
        folder / "subtomograms.h5", (4, 4, 4), 10.0, (-60, 60), picks.tomograms
    ) as store:
        store.append(np.random.default_rng(0).random((len(places), 4, 4, 4)), picks)
    if star:
        write_particles_star(folder / "particles.star", picks.with_clusters(np.array(labels), None))
    (folder / "run.json").write_text(json.dumps({"stages": {"pick": {"seconds": 2.5}}}))


# Four of five large ones (one by 7 voxels), two small ones (one more by 5 voxels, too far), the one
# at the face, filler, gold, and one on nothing.
PLACES = [(50, 50, 30), (50, 50, 67), (52, 50, 90), (50, 50, 120), (50, 100, 30), (50, 100, 61)]
PLACES += [(50, 100, 95), (50, 10, 100), (50, 150, 42), (50, 150, 80), (20, 180, 180)]
LABELS = [0, 0, 0, 1, 1, 1, -1, 0, 1, 0, -1]


@pytest.mark.parametrize("star", [True, False])
def test_a_case_made_by_hand(truth, tmp_path, star: bool) -> None:
    write_run(tmp_path / "run", PLACES, LABELS, star=star)
    score = score_cells(truth, tmp_path / "run")
    assert score.picker["picks"] == 11
    assert score.picker["recall"] == pytest.approx(6 / 9)
    assert score.picker["precision"] == pytest.approx(6 / 10)  # not asked at the face
    assert score.picker["wrong"] == {"nothing": 2, "filler": 1, "gold": 1}
    sorting = score.sorting
    assert sorting["K"] == 2
    assert sorting["purity"] == pytest.approx((4 + 2) / 9)
    assert sorting["completeness"] == pytest.approx((4 + 2) / 7)
    assert sorting["junk_in_clusters"] == pytest.approx(2 / 9)
    assert sorting["junk_out_of_clusters"] == pytest.approx(2 / 4)
    large, small = score.kinds
    assert (large["kind"], large["true"], large["picked"], large["cluster"]) == ("large", 5, 4, 1)
    assert large["recall"] == pytest.approx(3 / 5) and large["purity"] == pytest.approx(4 / 5)
    assert (small["kind"], small["true"], small["cluster"]) == ("small", 4, 2)
    assert small["recall"] == pytest.approx(2 / 4) and small["purity"] == pytest.approx(2 / 4)
    assert small["off_centre_px"] == pytest.approx(0.5)
    assert score.clusters[0]["holds"] == {"large": 4, "gold": 1}
    assert score.seconds == {"pick": 2.5}


def test_a_perfect_run_is_perfect(truth, tmp_path) -> None:
    write_run(tmp_path / "run", CENTERS, [0] * 5 + [1] * 4 + [0, -1, -1])
    score = score_cells(truth, tmp_path / "run")
    assert score.picker["recall"] == 1 and score.picker["precision"] == pytest.approx(9 / 11)
    for name in ("ari", "ari_with_junk", "purity", "completeness", "junk_out_of_clusters"):
        assert score.sorting[name] == 1
    assert score.sorting["junk_in_clusters"] == 0


def test_a_second_pick_of_a_particle_is_called_so(truth, tmp_path) -> None:
    write_run(tmp_path / "run", [(50, 50, 30), (50, 53, 30)], [0, 0])
    score = score_cells(truth, tmp_path / "run")
    assert score.picker["wrong"] == {"double": 1}
    assert score.clusters[0]["holds"] == {"large": 1, "double": 1}


def test_what_is_called_junk_is_in_no_cluster(truth, tmp_path) -> None:
    write_run(tmp_path / "run", PLACES, LABELS)
    gold = ParticleSet(
        np.array([INFO.name]), np.array([[50.0, 150, 80]]), tomograms={INFO.name: INFO}
    )
    (tmp_path / "run" / "junk").mkdir()
    write_particles_star(tmp_path / "run" / "junk" / "gold.star", gold)
    score = score_cells(truth, tmp_path / "run")
    assert score.clusters[0]["holds"] == {"large": 4}
    assert score.junk == [{"name": "gold", "places": 1, "holds": {"gold": 1}, "recall": 1.0}]


def test_bilayers_and_filaments_are_told_from_nothing(truth, tmp_path) -> None:
    volume = np.zeros(INFO.shape_zyx, np.uint8)
    volume[18, 170:190, 170:190], volume[50, 100, 96] = 1, 2
    write_run(tmp_path / "run", PLACES, LABELS)
    sheet = ParticleSet(
        np.array([INFO.name]), np.array([PLACES[10]], float), tomograms={INFO.name: INFO}
    )
    (tmp_path / "run" / "junk").mkdir()
    write_particles_star(tmp_path / "run" / "junk" / "sheet.star", sheet)
    score = score_cells(truth, tmp_path / "run", {"cell": volume})
    assert score.picker["wrong"] == {"filler": 1, "gold": 1, "sheet": 1, "filament": 1}
    assert score.junk == [{"name": "sheet", "places": 1, "holds": {"sheet": 1}, "recall": 1.0}]


def test_particles_that_were_found_later_and_moved_ones_count(truth, tmp_path) -> None:
    write_run(tmp_path / "run", PLACES, LABELS, star=False)
    places = np.array([*PLACES[:5], (50, 100, 121)]) + np.array([0.0, 1, 0])
    final = ParticleSet(np.full(6, INFO.name), places, tomograms={INFO.name: INFO})
    final = final.with_clusters(np.array([0, 0, 0, 0, 1, 1]), None)
    write_particles_star(tmp_path / "run" / "particles.star", final)
    score = score_cells(truth, tmp_path / "run")
    assert [row["members"] for row in score.clusters] == [4, 2]
    assert score.kinds[1]["recall"] == pytest.approx(2 / 4) and score.kinds[1]["purity"] == 1


def test_every_particle_has_its_own_tolerance() -> None:
    score = match_picks(np.array([[0, 0, 5.0], [0, 9, 5]]), np.array([[0, 0, 0.0], [0, 9, 0]]), 6.0)
    assert len(score.pairs) == 2
    score = match_picks(
        np.array([[0, 0, 5.0], [0, 9, 5]]), np.array([[0, 0, 0.0], [0, 9, 0]]), np.array([4.0, 6])
    )
    assert score.pairs.tolist() == [[1, 1]]


def test_runs_that_cannot_be_scored(truth, tmp_path) -> None:
    with pytest.raises(InputError, match="finished"):
        score_cells(truth, tmp_path)
    write_run(tmp_path / "run", PLACES, LABELS)
    other = CellTruth(**{**vars(truth), "tomogram": np.full(len(KINDS), "elsewhere")})
    with pytest.raises(InputError, match="does not tell of tomogram cell_good"):
        score_cells(other, tmp_path / "run")


def test_the_command_scores_a_run(tmp_path, capsys) -> None:
    write_run(tmp_path / "run", CENTERS, [0] * 5 + [1] * 4 + [0, -1, -1])
    header = "tomogram,class,role,x,y,z,rot,tilt,psi,radius_px"
    lines = [
        f"cell,{kind},{role},{x},{y},{z},0,0,0,8"
        for kind, role, (z, y, x) in zip(KINDS, ROLES, CENTERS, strict=True)
    ]
    table = tmp_path / "truth.csv"
    table.write_text("\n".join([header, *lines]) + "\n")
    command = ["bench", "--what", "cells", "--score", str(tmp_path / "run")]
    assert main([*command, "--truth", str(table)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "│ large │ 5 │ 1.00 │ 0.0 │ 1 │ 1.00 │ 1.00 │" in shown
    assert "│ ARI of particles │ 1.00 │" in shown
    assert main(command) == 2
    assert "--truth" in capsys.readouterr().err
    table.write_text("\n".join([header, lines[0].replace("large,abundant,30", "large,abundant,x")]))
    assert main([*command, "--truth", str(table)]) == 2
    assert "no number" in " ".join(capsys.readouterr().err.split())


def test_an_average_is_compared_through_the_lens(tmp_path) -> None:
    template, lens = load_phantoms()["two_lobes"], Imaging(defocus_angstrom=40_000)
    folder = tmp_path / "averages" / "cluster_01"
    folder.mkdir(parents=True)
    write_volume(folder / "average.mrc", through_lens(template, 28, 10.0, [lens]), 10.0)
    clusters = [{"cluster": 1, "kind": "two_lobes"}, {"cluster": 2, "kind": "two_lobes"}]
    known = {"two_lobes": template}
    seen = compare_with_templates(tmp_path, clusters, known, [lens])
    plain = compare_with_templates(tmp_path, clusters, known)
    assert set(seen) == {1}
    assert seen[1].correlation > 0.99 > 0.97 > plain[1].correlation


def test_cells_are_made_once_and_runs_go_on(tmp_path, monkeypatch) -> None:
    calls = []

    def pretend_run(tomograms, run, options, again) -> None:
        calls.append(again)
        names = [path.name.removesuffix(".mrc") for path in tomograms]
        infos = {name: TomogramInfo(name, 10.0, (40, 64, 64)) for name in names}
        places = ParticleSet(np.array(names), np.full((2, 3), 20.0), np.ones(2), tomograms=infos)
        run.mkdir(exist_ok=True)
        (run / "subtomograms.h5").unlink(missing_ok=True)
        write_picks_csv(run / "picks.csv", places)
        write_labels_csv(run / "labels.csv", np.zeros(2, int))
        with StoreWriter.create(
            run / "subtomograms.h5", (4, 4, 4), 10.0, (-60, 60), infos
        ) as store:
            store.append(np.random.default_rng(0).random((2, 4, 4, 4)), places)

    monkeypatch.setattr(whole_cells, "_run", pretend_run)
    shape = {"shape_zyx": (40, 64, 64), "ice_angstrom": 330.0, "filled_fraction": 0.05}
    shape |= {"n_abundant": 6, "n_membrane": 0, "n_fillers": 1, "n_vesicles": 0, "n_gold": 1}
    shape |= {"n_microtubules": 0, "n_actin": 0, "sheet": False}
    maps = load_templates(None)
    (first,) = whole_cells.measure_cells(tmp_path, maps, level="raw", seeds=[4], shape=shape)
    made = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cells_4").glob("*.mrc")}
    assert set(made) == {"cell4a_raw.mrc", "cell4b_raw.mrc"}
    (again,) = whole_cells.measure_cells(tmp_path, maps, level="raw", seeds=[4], shape=shape)
    assert calls == [False] and again == json.loads(json.dumps(first))
    whole_cells.measure_cells(tmp_path, maps, level="raw", seeds=[4], shape=shape, again=True)
    assert calls == [False, True]
    assert made == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cells_4").glob("*.mrc")}
    assert whole_cells.kind_rows(first)[0].keys() >= {"kind", "recall", "purity", "average"}
    assert dict(whole_cells.summary_rows(first))["picks"] == "2"


def test_roles_of_templates_by_name_and_by_size() -> None:
    recipe, maps = whole_cells.cell_recipe(load_templates(None), {})
    assert isinstance(recipe, CellRecipe) and len(recipe.abundant) == 6 and recipe.membrane
    phantoms = load_phantoms()
    few = TemplateSet({name: phantoms[name] for name in ("ring", "rod", "shell")}, "templates")
    recipe, maps = whole_cells.cell_recipe(few, {})
    radii = [maps[name].radius_angstrom for name in (*recipe.abundant, *recipe.fillers)]
    assert radii == sorted(radii, reverse=True)
    assert len(recipe.abundant) == 2 and recipe.membrane is None
