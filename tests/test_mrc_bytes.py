"""Bytes of MRC files, signed or not, as the header or the voxels say."""

from __future__ import annotations

import logging

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from aitom_disca.io import open_tomogram


def write(path, stored, low, high):
    """Mode 0 without IMOD's stamp, with these extremes in the header."""
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(stored.view(np.int8))
        mrc.set_volume()
        mrc.voxel_size = 10.0
        mrc.header.dmin, mrc.header.dmax = low, high
    return path


def noise(rng, mean, spread):
    """Noise as smooth as a tomogram's is at the least."""
    values = ndimage.gaussian_filter(rng.normal(size=(8, 30, 40)), 0.5)
    return mean + spread * values / values.std()


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, -1), (np.nan, np.nan), (5, 5), (-500, 500)])
def test_the_voxels_decide_where_the_header_is_silent(tmp_path, rng, caplog, low, high):
    caplog.set_level(logging.WARNING)
    for mean, spread in ((110, 15), (128, 40), (200, 15)):  # 0 to 255
        stored = np.clip(noise(rng, mean, spread), 0, 255).astype(np.uint8)
        path = write(tmp_path / "a.mrc", stored, low, high)
        read = open_tomogram(path, tilt_range_deg=(-60, 60)).read()
        difference = read - stored
        assert np.ptp(difference) == 0  # to a constant, where no byte is beside the wrap
    for mean, spread in ((0, 15), (-30, 30), (20, 10)):  # -128 to 127
        stored = np.clip(noise(rng, mean, spread), -128, 127).astype(np.int8)
        path = write(tmp_path / "a.mrc", stored, low, high)
        np.testing.assert_array_equal(open_tomogram(path, tilt_range_deg=(-60, 60)).read(), stored)
    assert not caplog.text


def test_voxels_that_do_not_tell(tmp_path, rng, caplog):
    stored = rng.integers(0, 256, (8, 30, 40)).astype(np.uint8)
    path = write(tmp_path / "a.mrc", stored, 0, 0)
    read = open_tomogram(path, tilt_range_deg=(-60, 60)).read()
    np.testing.assert_array_equal(read, stored.view(np.int8))
    assert "does not say whether its bytes mean -128 to 127 or 0 to 255" in caplog.text


def test_the_header_decides_where_it_speaks(tmp_path, rng, caplog):
    stored = rng.integers(0, 256, (8, 30, 40)).astype(np.uint8)
    for low, high, expected in ((0, 255, stored), (-128, 127, stored.view(np.int8))):
        path = write(tmp_path / "a.mrc", stored, low, high)
        tomogram = open_tomogram(path, tilt_range_deg=(-60, 60))
        np.testing.assert_array_equal(tomogram.read(), expected)
    assert not caplog.text


def test_bytes_beyond_127_in_a_few_slices_only(tmp_path):
    stored = np.full((70, 24, 30), 100, np.uint8)
    stored[[2, 3, 40], 8:12, 9:15] = 200
    path = write(tmp_path / "a.mrc", stored, 0, 0)
    np.testing.assert_array_equal(open_tomogram(path, tilt_range_deg=(-60, 60)).read(), stored)


@pytest.mark.parametrize("order", ["<", ">"])
def test_words_beyond_32767_where_the_header_says_so(tmp_path, rng, order):
    values = np.clip(noise(rng, 30000, 9000), 0, 65535).astype(np.uint16)
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(values.view(np.int16).astype(f"{order}i2"))
        mrc.set_volume()
        mrc.voxel_size = 10.0
        mrc.header.dmin, mrc.header.dmax = 0, 60000
    read = open_tomogram(tmp_path / "a.mrc", tilt_range_deg=(-60, 60)).read()
    np.testing.assert_array_equal(read, values)
