"""The picture of a scored run: the truth beside what was found, averages beside templates."""

from __future__ import annotations

import json
from io import BytesIO, StringIO

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from rich.console import Console

from aitom_disca import progress
from aitom_disca.bench import cell_picture, whole_cells
from aitom_disca.io import (
    StoreWriter,
    open_tomogram,
    write_labels_csv,
    write_picks_csv,
    write_rows_csv,
    write_volume,
)
from aitom_disca.particles import ParticleSet
from aitom_disca.report import cluster_colour
from aitom_disca.report.cell_slice import Kind, cluster_kind
from aitom_disca.simulation import load_phantoms
from aitom_disca.simulation.cell.truth import COLUMNS

KINDS = ["rod", "ring", "ring", "rod", "gold"]
PLACES = np.array([(15, 10, 10), (15, 30, 10), (15, 10, 40), (15, 30, 40), (15, 20, 25)], float)
LABELS = np.array([1, 0, 0, 1, 2])


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that found rods and rings in their places, and took a bead for a third kind."""
    monkeypatch.setattr(cell_picture, "_DPI", 60)  # for speed
    volume = np.random.default_rng(0).normal(size=(30, 40, 50)).astype(np.float32)
    write_volume(tmp_path / "cell_raw.mrc", volume, 20.0, tilt_range_deg=(-60, 60))
    info = open_tomogram(tmp_path / "cell_raw.mrc").info
    roles = {"gold": "gold"}
    rows = [
        ("cell", kind, roles.get(kind, "abundant"), x, y, z, 0, 0, 0, 6)
        for kind, (z, y, x) in zip(KINDS, PLACES, strict=True)
    ]
    write_rows_csv(tmp_path / "truth.csv", [dict(zip(COLUMNS, row, strict=True)) for row in rows])
    folder, infos = tmp_path / "run", {info.name: info}
    found = ParticleSet(np.full(5, info.name), PLACES, np.ones(5), tomograms=infos)
    folder.mkdir()
    write_picks_csv(folder / "picks.csv", found)
    write_labels_csv(folder / "labels.csv", LABELS)
    with StoreWriter.create(folder / "subtomograms.h5", (4,) * 3, 20.0, (-60, 60), infos) as store:
        store.append(np.random.default_rng(0).random((5, 4, 4, 4)), found)
    record = {"command": "run", "inputs": ["/a"], "settings": {}, "versions": {}, "stages": {}}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_a_scored_run_is_drawn_and_scored_even_where_its_tomogram_is_gone(run, tmp_path):
    rod = load_phantoms()["rod"]
    write_volume(run / "averages" / "cluster_02" / "average.mrc", rod.density(16, 20.0), 20.0)
    given = run, [tmp_path / "truth.csv"], {"rod": rod}
    first = whole_cells.score_with_averages(*given)
    assert [row["correlation"] is None for row in first.clusters] == [True, False, True]
    picture = imread(BytesIO((run / "cell.png").read_bytes()))[..., :3]
    for colour in (cluster_colour(0), cluster_colour(1), cell_picture._NO_KIND_COLOUR):
        assert (np.abs(picture - to_rgb(colour)).max(axis=2) < 0.02).any()
    (run / "cell.png").unlink()
    (tmp_path / "cell_raw.mrc").unlink()
    console = Console(file=StringIO(), width=300)
    with progress.shown(console):
        assert whole_cells.score_with_averages(*given) == first
    assert "no picture of the cell: Tomogram cell_raw is not where" in console.file.getvalue()
    assert not (run / "cell.png").exists()


def test_clusters_have_the_colour_of_the_kind_that_they_hold_most() -> None:
    places = np.zeros((1, 3))
    found = [*(cluster_kind(k, places, 8.0) for k in range(3)), Kind("gold", places)]
    rows = [
        {"cluster": 1, "kind": "ring", "holds": {"ring": 9, "gold": 2}},
        {"cluster": 2, "kind": "ring", "holds": {"ring": 3}},
        {"cluster": 3, "kind": "rod", "holds": {"gold": 5, "rod": 1}},
    ]
    drawn = cell_picture._coloured(found, rows, {"ring": "#111111", "rod": "#222222"})
    assert [kind.name for kind in drawn] == ["1: ring", "2: ring", "3: gold", "gold"]
    assert [kind.colour for kind in drawn] == [
        "#111111", "#111111", cell_picture._NO_KIND_COLOUR, None,
    ]  # fmt: skip
    assert [kind.dashed for kind in drawn] == [False, True, False, False]
