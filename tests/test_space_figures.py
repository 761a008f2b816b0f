"""The figures show what they are given."""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from aitom_disca.analysis.neighbour_pairs import compare_neighbours
from aitom_disca.analysis.orientation import preferred_orientation
from aitom_disca.analysis.view_directions import view_directions_xyz
from aitom_disca.geometry import random_rotations
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.report import cluster_colour, figure_style
from aitom_disca.report.spatial_figures import (
    _outlines,
    draw_neighbour_distances,
    draw_orientations,
)

RING = "#ee7733"


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_style, "DPI", 72)  # for speed


def places_of(png: bytes, colour) -> np.ndarray:
    """Rows and columns of a colour, as shares of the picture."""
    pixels = imread(BytesIO(png))[..., :3]
    found = np.argwhere(np.abs(pixels - to_rgb(colour)).max(axis=2) < 0.06)
    return found / pixels.shape[:2]


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(1)
    labels = np.r_[rng.integers(0, 2, 80), 2]
    info = {"a": TomogramInfo("a", 10.0, (200, 200, 200))}
    places = rng.uniform(0, 200, (81, 3))
    given = ParticleSet(np.full(81, "a"), places, cluster=labels, tomograms=info)
    return compare_neighbours(given, n_permutations=19)


def test_the_full_cells_lie_where_the_directions_are(rng):
    """Azimuth 90 degrees, at the equator: right of the middle."""
    directions = np.tile([0.0, 1.0, 0.0], (600, 1)) + rng.normal(size=(600, 3)) * 0.05
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    png = draw_orientations(directions)
    bright = places_of(png, colormaps["viridis"](0.999)[:3])
    bright = bright[bright[:, 0] < 0.65]  # the colour bar is below
    assert len(bright) > 0
    assert bright[:, 1].min() > 0.6 and bright[:, 1].max() < 0.9


def test_the_ring_marks_a_preference_and_only_one(rng):
    angles = np.column_stack([np.full(100, -90.0), np.full(100, 90.0), rng.uniform(0, 360, 100)])
    angles[:, :2] += rng.normal(size=(100, 2)) * 20
    found = preferred_orientation(angles)
    ring = places_of(draw_orientations(view_directions_xyz(angles), found), RING)
    assert len(ring) > 5 and (ring[:, 1] < 0.5).all()  # azimuth -90: left of the middle
    uniform = random_rotations(100, rng)
    plain = draw_orientations(view_directions_xyz(uniform), preferred_orientation(uniform))
    assert len(places_of(plain, RING)) == 0


def test_an_axis_is_marked_at_both_ends(rng):
    directions = rng.normal(size=(200, 3)) * [1, 1, 0.1]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    x, y, z = directions.T
    angles = np.rad2deg(np.column_stack([np.arctan2(y, x), np.arccos(z), 0 * x]))
    found = preferred_orientation(angles)
    assert found.kind == "equatorial"
    ring = places_of(draw_orientations(directions, found), RING)
    assert ring[:, 0].min() < 0.15 and ring[:, 0].max() > 0.5


def test_outlines_cover_the_sphere_once():
    whole = [
        part
        for i in range(5)
        for part in _outlines(2 * np.pi * i / 5, 2 * np.pi * (i + 1) / 5, -0.2, 0.3)
    ]
    widths = [np.ptp(part[:, 0]) for part in whole]
    assert len(whole) == 6  # the one that crosses the rim is cut in two
    assert sum(widths) == pytest.approx(2 * np.pi)
    assert all((np.abs(part[:, 0]) <= np.pi + 1e-12).all() for part in whole)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_directions_can_be_drawn_without_a_warning(n):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = draw_orientations(np.tile([0.0, 0.0, 1.0], (n, 1)))
    assert png.startswith(b"\x89PNG")


def test_observed_and_chance_are_drawn(pairs):
    for pair in pairs[:2]:
        png = draw_neighbour_distances(pair)
        assert len(places_of(png, cluster_colour(pair.cluster)))
        assert len(places_of(png, "#dcdcd8"))


def test_an_empty_pair_can_be_drawn(pairs):
    empty = pairs[-1]
    assert empty.members == 0
    assert draw_neighbour_distances(empty).startswith(b"\x89PNG")


def test_figures_are_the_same_each_time(pairs, rng):
    directions = view_directions_xyz(random_rotations(50, rng))
    assert draw_orientations(directions) == draw_orientations(directions)
    assert draw_neighbour_distances(pairs[0]) == draw_neighbour_distances(pairs[0])
