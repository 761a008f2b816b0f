"""The surface lies where the density is, at the right size, and anything drawable is drawn."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from aitom_disca.errors import InputError
from aitom_disca.report import figure_style
from aitom_disca.report.isosurface import _level, _resampled, _surface, draw_isosurface


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_style, "DPI", 72)  # for speed


def ellipsoid(n: int, radii_zyx_px, centre_zyx_px=(0.0, 0.0, 0.0)) -> np.ndarray:
    """A soft ellipsoid whose surface is at 0.5, about the voxel n // 2."""
    grid = np.indices((n,) * 3) - n // 2 - np.reshape(centre_zyx_px, (3, 1, 1, 1))
    distance = np.sqrt(sum((x / r) ** 2 for x, r in zip(grid, radii_zyx_px, strict=True)))
    return 1 / (1 + np.exp((distance - 1) * 12))


def covered(png: bytes, panel: int) -> np.ndarray:
    """Which pixels of the left (0) or right (1) half show the surface; the scale bar is black."""
    pixels = imread(BytesIO(png))[..., :3]
    half = pixels[:, : pixels.shape[1] // 2] if panel == 0 else pixels[:, pixels.shape[1] // 2 :]
    return half.max(axis=2) - half.min(axis=2) > 0.15


def extent(mask: np.ndarray) -> tuple[int, int]:
    rows, columns = np.nonzero(mask)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_the_surface_lies_where_the_values_cross_the_level():
    volume = ellipsoid(25, (9, 6, 5), (0, 1, -2))
    fine, factor = _resampled(volume)
    corners, faces, normals = _surface(fine, 0.5, np.full(3, 12 * factor))
    x, y, z = corners.T / factor
    radius = np.sqrt((z / 9) ** 2 + ((y - 1) / 6) ** 2 + ((x + 2) / 5) ** 2)
    assert abs(radius - 1).max() < 0.08
    outward = ((corners / factor - [-2, 1, 0]) * normals).sum(axis=1)
    assert (outward > 0).all()
    _, shared = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)), axis=0,
                          return_counts=True)  # fmt: skip
    assert (shared == 2).all()  # closed


def test_both_views_have_the_shape_of_the_body():
    """Long in z, wide in x, thin in y; across z is seen with z up and x to the right."""
    png = draw_isosurface(ellipsoid(32, (13, 4, 8)), 10.0)
    height, width = extent(covered(png, 0))
    assert height / width == pytest.approx(4 / 8, abs=0.12)
    height, width = extent(covered(png, 1))
    assert height / width == pytest.approx(13 / 8, abs=0.12)


def test_a_bump_at_high_x_and_z_is_right_and_up():
    body = ellipsoid(32, (8, 8, 8))
    png = draw_isosurface(np.maximum(body, ellipsoid(32, (4, 3, 4), (7, 0, 7))), 10.0)
    rows, columns = np.nonzero(covered(png, 1))
    middle = np.array(covered(png, 1).shape) / 2
    outermost = np.argmax((columns - middle[1]) - (rows - middle[0]))
    away = np.hypot(columns - columns.mean(), rows - rows.mean())
    assert np.hypot(columns[outermost] - columns[away.argmax()],
                    rows[outermost] - rows[away.argmax()]) < 12  # fmt: skip


def test_dust_is_not_drawn():
    body = ellipsoid(32, (9, 9, 9))
    dust = np.maximum(body, ellipsoid(32, (1.5, 1.5, 1.5), (12, 12, 12)))
    assert draw_isosurface(dust, 10.0, level=0.5) == draw_isosurface(body, 10.0, level=0.5)


def test_a_lower_level_shows_more_and_the_usual_one_lies_between():
    volume = ellipsoid(32, (9, 9, 9))
    fine, factor = _resampled(volume)
    assert 0.3 < _level(fine) < 0.7
    low, high = (_surface(fine, level, np.full(3, 16 * factor))[0] for level in (0.2, 0.8))
    assert np.linalg.norm(low, axis=1).mean() > 1.05 * np.linalg.norm(high, axis=1).mean()


def test_noise_a_cut_body_and_uneven_boxes_are_drawn(rng):
    noisy = ellipsoid(24, (7, 7, 7)) + rng.normal(size=(24,) * 3)
    for volume in (noisy, ellipsoid(16, (14, 5, 5)), ellipsoid(80, (20, 20, 20))[:, :50, :61]):
        assert draw_isosurface(volume.astype(np.float32), 8.0).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("volume", "level", "message"),
    [
        (np.zeros((8, 8)), None, "axes z, y, x"),
        (np.zeros((8, 8, 8)), None, "one value only"),
        (np.zeros((2, 8, 8)), None, "4 voxels"),
        (np.full((8, 8, 8), np.nan), None, "not finite"),
        (ellipsoid(16, (5, 5, 5)), 7.0, "level 7"),
    ],
)
def test_what_has_no_surface_is_refused(volume, level, message):
    with pytest.raises(InputError, match=message):
        draw_isosurface(volume, 10.0, level=level)
