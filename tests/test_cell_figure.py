"""Slices of tomograms with their particles by cluster, alone and from the folder of a run."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from aitom_disca.errors import InputError
from aitom_disca.io import StoreWriter, open_tomogram, write_particles_star, write_volume
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline.report import tomograms_of
from aitom_disca.report import cell_figure, cell_of_run, cell_slice, cluster_colour, tomogram_view
from aitom_disca.report.cell_figure import AverageView, draw_cell
from aitom_disca.report.cell_slice import CellSlice, Kind, cluster_kind, slice_with_most
from aitom_disca.report.pictures import grey_jpeg
from aitom_disca.report.tomogram_view import Detail, TomogramView
from aitom_disca.runs.run_folder import RunFolder

DPI = 60  # for speed


def pixels(png: bytes) -> np.ndarray:
    return imread(BytesIO(png))[..., :3]


def where(png: bytes, colour: str) -> np.ndarray:
    """Rows and columns of a colour."""
    return np.argwhere(np.abs(pixels(png) - to_rgb(colour)).max(axis=2) < 0.02)


def plain_slice(kinds: list[Kind]) -> CellSlice:
    return CellSlice(np.random.default_rng(2).normal(size=(40, 60)), (40, 60), 10.0, kinds)


def test_circles_lie_where_they_should_and_are_as_large_as_particles() -> None:
    png = draw_cell([plain_slice([cluster_kind(3, np.array([[0.0, 10, 45]]), 12.0)])], dpi=DPI)
    width, height = (round(inch * DPI) for inch in cell_figure._size_inch((40, 60)))
    top = round(cell_figure._TITLE * DPI)
    found = where(png, cluster_colour(3)) - (top, 0)
    found = found[found[:, 0] < height]  # below is the legend
    middle, span = (found.min(axis=0) + found.max(axis=0)) / 2, np.ptp(found, axis=0)
    assert middle[1] / width * 60 - 0.5 == pytest.approx(45, abs=0.3)
    assert (1 - middle[0] / height) * 40 - 0.5 == pytest.approx(10, abs=0.3)
    assert span / height * 40 == pytest.approx([12, 12], abs=0.8)


def test_every_cluster_keeps_its_colour_and_junk_is_grey() -> None:
    places = np.random.default_rng(0).uniform(5, 35, (10, 1, 3))
    clusters = [cluster_kind(k, place, 8.0) for k, place in enumerate(places)]
    junk = [Kind(name, place) for name, place in zip(cell_figure.MARKERS, places, strict=False)]
    png = draw_cell([plain_slice(clusters)], dpi=DPI)
    assert all(len(where(png, cluster_colour(k))) > 5 for k in range(10))
    grey = pixels(draw_cell([plain_slice(junk)], dpi=DPI))
    assert np.ptp(grey, axis=2).max() < 0.06
    assert len(pixels(draw_cell([plain_slice([])], dpi=DPI))) < len(grey)  # no legend
    assert cluster_kind(10, places[0], 8.0).dashed and not clusters[0].dashed


def test_averages_are_drawn_beside_with_their_templates() -> None:
    volume = np.random.default_rng(1).random((12, 12, 12))
    alone = [AverageView("cluster 1", "#0077bb", volume, note="9")] * 8
    known = [AverageView("cluster 1", "#0077bb", volume, volume, voxel_size_angstrom=10.0)]
    widths = [pixels(draw_cell([plain_slice([])], a, dpi=DPI)).shape[1] for a in ([], alone, known)]
    assert widths[0] < widths[1] and widths[0] < widths[2]


def write_tomogram(path: Path, shape=(30, 40, 50)) -> Path:
    volume = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    write_volume(path, volume, 10.0, tilt_range_deg=(-60, 60))
    return path


def test_the_slice_is_the_one_with_most_particles(tmp_path: Path) -> None:
    tomogram = open_tomogram(write_tomogram(tmp_path / "TS.mrc"))
    places = np.array([(z, 20, 20) for z in (3, 12, 13, 15, 15, 27)], float)
    kinds = [cluster_kind(0, places[:4], 8.0), cluster_kind(1, places[4:], np.array([8.0, 9]))]
    beads = Kind("gold", np.tile([27.0, 5, 5], (9, 1)))  # does not count
    one = slice_with_most(tomogram, [*kinds, beads], 80.0)
    counts = [sum(abs(z - middle) <= one.near_px for z in places[:, 0]) for middle in range(30)]
    assert one.near_px == 2.0 and counts[one.middle_px] == max(counts) == 4
    assert [len(kind.center_zyx_px) for kind in one.kinds] == [3, 1, 0]
    assert one.kinds[1].diameter_px == 8.0
    assert slice_with_most(tomogram, kinds, 80.0, middle_px=27).kinds[1].diameter_px == 9.0
    thin = slice_with_most(tomogram, [], 1.0, middle_px=4)  # one slice, hardly smoothed
    np.testing.assert_allclose(thin.image_yx, tomogram.read()[4], atol=1e-5)


def test_a_large_tomogram_gives_a_small_picture(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cell_slice, "MOST_PIXELS", 20)
    one = slice_with_most(open_tomogram(write_tomogram(tmp_path / "TS.mrc")), [], 80.0)
    assert one.image_yx.shape == (14, 17) and one.shape_yx == (40, 50)


@pytest.fixture
def run(tmp_path: Path):
    """The folder of a run of two tomograms, its particles, and their clusters."""
    opened = [open_tomogram(write_tomogram(tmp_path / f"TS_{k}.mrc")) for k in (1, 2)]
    infos = {one.name: one.info for one in opened}
    places = np.random.default_rng(4).uniform(5, 25, (8, 3))
    particles = ParticleSet(
        np.repeat(["TS_1", "TS_2"], 4), places, tomograms=infos,
        more={"diameter_angstrom": np.array([80.0, 80, 120] * 2 + [120, 80])},
    )  # fmt: skip
    folder = RunFolder(tmp_path / "run")
    folder.record = {"settings": {"pick": {"particle_diameter_angstrom": [80.0, 120.0]}}}
    folder.junk.mkdir(parents=True)
    for path in (folder.junk / "gold.star", folder.noise_star):
        write_particles_star(path, particles.select(np.arange(2)))
    with StoreWriter.create(folder.store, (4, 4, 4), 10.0, (-60, 60), infos) as store:
        store.append(np.random.default_rng(0).random((8, 4, 4, 4)), particles)
    return SimpleNamespace(
        folder=folder, tomograms=opened, particles=particles, labels=np.array([0, 0, 1, -1] * 2)
    )


def test_what_lies_in_a_tomogram_of_a_run(run) -> None:
    junk = cell_of_run.junk_of_run(run.folder, run.particles.tomograms)
    kinds = cell_of_run.kinds_in("TS_1", 10.0, run.particles, run.labels, junk, 99.0)
    counts = {kind.name: len(kind.center_zyx_px) for kind in kinds}
    assert counts == {"cluster 1": 2, "cluster 2": 1, "gold": 2, "noise": 1}
    assert [kind.diameter_px for kind in kinds[:2]] == [8.0, 12.0]
    assert [kind.colour for kind in kinds] == [cluster_colour(0), cluster_colour(1), None, None]


def marked(view: TomogramView) -> list[list[tuple[int, int]]]:
    """Of every slice the kinds in it and how many particles of each."""
    return [[(k, len(rows)) for k, rows in one.marks] for one in view.slices]


def test_every_particle_is_drawn_once_in_the_slice_nearest_to_it(run) -> None:
    views, notes = tomogram_view.views_of_run(
        run.folder, run.tomograms, run.particles, run.labels, {2: "ribosome"}
    )
    assert notes == [] and [view.name for view in views] == ["TS_1", "TS_2"]
    first = views[0]
    assert [(kind.name, kind.number, kind.n) for kind in first.kinds] == [
        ("cluster 1", 1, 2), ("ribosome", 2, 1), ("gold", None, 2), ("noise", None, 1),
    ]  # fmt: skip
    drawn = [pair for rows in marked(first) for pair in rows]
    assert {k: sum(n for j, n in drawn if j == k) for k in range(4)} == {0: 2, 1: 1, 2: 2, 3: 1}
    heights = np.array([one.z_px for one in first.slices])
    for one in first.slices:
        for k, rows in one.marks:
            for x, y, radius in rows:
                (place,) = (
                    p for p in run.particles.center_zyx_px[:4]
                    if np.allclose([p[2] + 0.5, 40 - 0.5 - p[1]], [x, y])
                )  # fmt: skip
                assert abs(place[0] - one.z_px) == np.abs(place[0] - heights).min()
                assert radius == {0: 4.0, 1: 6.0}.get(k, 0.0)


def test_a_slice_is_as_coarse_as_it_must_be() -> None:
    plane = np.random.default_rng(0).normal(size=(300, 400))
    whole, small = (imread(BytesIO(grey_jpeg(plane, n)), format="jpeg") for n in (10**6, 20_000))
    assert whole.shape == (300, 400) and small.shape[1] < 400
    assert len(grey_jpeg(plane, 20_000)) <= 20_000


def test_averages_put_back_are_laid_over_the_slices(run) -> None:
    labels = np.zeros((30, 40, 50), np.float32)
    labels[:, :20, :25] = 2  # low y, left x
    run.folder.embedded.mkdir(parents=True)
    write_volume(run.folder.embedded / "TS_1_labels.mrc", labels, 10.0)
    write_volume(run.folder.embedded / "TS_1_density.mrc", 3 * (labels > 0).astype("f4"), 10.0)
    views, _ = tomogram_view.views_of_run(run.folder, run.tomograms, run.particles, run.labels, {})
    picture = imread(BytesIO(views[0].slices[0].placed))
    assert picture.shape == (40, 50, 4)
    clear = picture[..., 3] == 0
    assert clear[:20].all() and clear[:, 25:].all() and not clear[20:, :25].any()
    np.testing.assert_allclose(picture[30, 5, :3], to_rgb(cluster_colour(1)), atol=0.01)
    assert views[1].slices[0].placed is None


def test_of_very_many_particles_those_nearest_to_a_slice_are_drawn(run, monkeypatch) -> None:
    monkeypatch.setattr(tomogram_view, "FIRST", Detail(2, 10**6, 4))
    view = tomogram_view.views_of_run(run.folder, run.tomograms, run.particles, run.labels, {})[0][
        0
    ]
    assert sum(n for rows in marked(view) for _, n in rows) == 4 and view.n_left_out == 2


def test_a_tomogram_that_is_gone_is_told_of_and_the_others_are_drawn(run) -> None:
    run.tomograms[0].path.unlink()
    opened, notes = tomograms_of(run.folder.store, False)
    assert [one.name for one in opened] == ["TS_2"]
    (note,) = notes
    assert note.startswith("Tomogram TS_1 is not where it was")


def test_a_tomogram_that_cannot_be_read_is_told_of(run, monkeypatch) -> None:
    def fail(tomogram, *_):
        if tomogram.name == "TS_1":
            raise InputError("it holds NaN.")
        return plain_slice([])

    monkeypatch.setattr(tomogram_view, "slice_with_most", fail)
    monkeypatch.setattr(tomogram_view, "_MOST_TOMOGRAMS", 2)
    tomograms = [*run.tomograms, run.tomograms[0]]
    views, notes = tomogram_view.views_of_run(run.folder, tomograms, run.particles, run.labels, {})
    assert len(views) == 1
    assert notes == [
        "Tomogram TS_1 could not be drawn: it holds NaN.",
        "The first 2 of 3 tomograms are drawn.",
    ]
