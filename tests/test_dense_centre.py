"""The centre of an average beside a plain search for it, and members that follow their average."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.align_averages import turned
from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.classification.centring import centred, dense_centre
from aitom_disca.classification.classes import Classes


def blob(n: int, at, width: float = 3.0) -> np.ndarray:
    grid = np.indices((n,) * 3) - n // 2 - np.reshape(at, (3, 1, 1, 1))
    return np.exp(-(grid**2).sum(axis=0) / width)


def plain_centre(volume: np.ndarray, diameter_px: float) -> np.ndarray:
    """Place by place: what lies in a sphere draws it to its own centre."""
    n = volume.shape[0]
    smooth = ndimage.gaussian_filter(volume.astype(float), n / 24)
    places = [np.array(p) for p in np.ndindex(volume.shape)]
    places = [p for p in places if np.linalg.norm(p - n // 2) <= n / 2 - 1]
    background = np.median([smooth[tuple(p)] for p in places])
    centre = np.zeros(3)
    for _ in range(30):
        mass, moment = 0.0, np.zeros(3)
        for p in places:
            own = max(smooth[tuple(p)] - background, 0)
            beyond = np.linalg.norm(p - n // 2 - centre) - diameter_px / 2
            own *= min(max(0.5 - beyond, 0), 1)
            mass, moment = mass + own, moment + own * (p - n // 2)
        moved = np.clip(moment / mass, -n / 4, n / 4)
        still = np.linalg.norm(moved - centre) < 0.02
        centre = moved
        if still:
            break
    return centre


@pytest.mark.parametrize("n", [12, 13])
@pytest.mark.parametrize("diameter_px", [None, 5.0])
def test_the_centre_is_that_of_a_plain_search(n, diameter_px, rng) -> None:
    volume = blob(n, (1.6, -0.8, 0.5), 6.0) + 0.7 * blob(n, (-3, 3, 0)) + 0.1 * rng.random((n,) * 3)
    found = dense_centre(volume, diameter_px=diameter_px)
    expected = plain_centre(volume, diameter_px or 1.15 / 1.6 * n)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.linalg.norm(expected) > 0.3


def test_a_centre_stays_within_a_quarter_of_the_box() -> None:
    found = dense_centre(blob(16, (6, 0, -6), 2.0), diameter_px=20.0)
    np.testing.assert_allclose(found, (4, 0, -4), atol=0.1)
    assert np.abs(found).max() == 4
    np.testing.assert_array_equal(dense_centre(np.ones((12, 12, 12))), 0)


def test_members_follow_their_average_and_lie_where_they_did(rng) -> None:
    off = np.array([(2.0, -1, 1), (0.2, 0.1, 0), (-1, 1, 0)])
    averages = [blob(14, at, 6.0) for at in off]
    grid, labels = rotation_grid(40), np.array([0, 1, 2, 0, -1, 2])
    classes = replace(
        Classes.start(averages, rng.normal(size=(6, 3))),
        labels=labels,
        rotation=np.array([3, 9, 27, 38, 5, 11]),
    )
    found = centred(classes, grid)
    centres = np.array([dense_centre(average) for average in averages])
    np.testing.assert_allclose(centres[[0, 2]], off[[0, 2]], atol=0.15)
    assert found.averages[1] is averages[1]  # near enough
    for k in (0, 2):
        moved = ndimage.shift(averages[k], -centres[k], order=3, mode="constant")
        np.testing.assert_allclose(found.averages[k], moved, atol=1e-3)
        assert np.linalg.norm(dense_centre(found.averages[k])) < 0.1
    for i, k in enumerate(labels):
        moved = np.zeros(3)
        if k in (0, 2):
            matrix = grid[classes.rotation[i]].as_matrix()
            moved = (matrix @ centres[k][::-1])[::-1]
        np.testing.assert_allclose(
            found.offset_zyx_px[i], classes.offset_zyx_px[i] + moved, atol=1e-9
        )


def test_what_lies_less_than_a_third_of_a_voxel_off_stays(monkeypatch) -> None:
    from aitom_disca.classification import centring

    for at, stays in ((0.29, True), (0.31, False)):
        monkeypatch.setattr(
            centring, "dense_centre", lambda _, at=at, **how: np.array([0.0, 0, at])
        )
        one = Classes.start([blob(8, (0, 0, 0))], np.zeros((1, 3)))
        assert (centred(one, rotation_grid(1)).averages[0] is one.averages[0]) == stays


def test_a_volume_is_turned_about_its_centre_voxel_and_then_moved() -> None:
    quarter = Rotation.from_euler("z", 90, degrees=True)  # x to y
    volume = np.zeros((7, 7, 7))
    volume[3, 3, 5], volume[4, 3, 3] = 1, 2
    found = turned(volume, quarter, np.array([1.0, -1, 0]))
    expected = np.zeros((7, 7, 7))
    expected[4, 4, 3], expected[5, 2, 3] = 1, 2
    np.testing.assert_allclose(found, expected, atol=1e-9)
