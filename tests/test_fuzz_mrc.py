"""Headers of MRC files with wrong numbers: refused in one sentence, or read as they say."""

from __future__ import annotations

import random
import struct
import warnings

import numpy as np
import pytest

from aitom_disca.errors import InputError
from aitom_disca.io import open_tomogram, write_volume

WORDS = [struct.pack("<i", n) for n in (0, 1, -1, 2, 3, 5, 6, 7, 127, 1000, 2**31 - 1, -(2**31))]
WORDS += [struct.pack("<f", x) for x in (np.nan, np.inf, -5.0, 1e-9, 1e30, 0.5, 1.0, 300.0)]
DTYPES = {0: "i1", 1: "<i2", 2: "<f4", 6: "<u2", 12: "<f2"}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("mrc") / "a.mrc"
    volume = np.random.default_rng(0).normal(size=(6, 5, 8)).astype(np.float32)
    write_volume(path, volume, 10.0, tilt_range_deg=(-50, 60))
    return path.read_bytes()


def read_plainly(data):
    """Voxel size and the volume, by the numbers in the header alone."""
    nx, ny, nz, mode = struct.unpack_from("<4i", data)
    grid, cell = struct.unpack_from("<3i", data, 28), struct.unpack_from("<3f", data, 40)
    (extra,) = struct.unpack_from("<i", data, 92)
    dtype = np.dtype(DTYPES[mode])
    start = 1024 if len(data) == 1024 + nx * ny * nz * dtype.itemsize else 1024 + extra
    volume = np.frombuffer(data, dtype, nx * ny * nz, start)
    return cell[0] / grid[0], volume.reshape(nz, ny, nx).astype(np.float32)


def fuzz(sound, path, seed, n):
    rng = random.Random(seed)
    n_read = 0
    for _ in range(n):
        data = bytearray(sound)
        for _ in range(rng.choice((1, 1, 2))):
            at = 4 * rng.randrange(0, 54)
            data[at : at + 4] = rng.choice(WORDS)
        if rng.random() < 0.2:
            data = data[: rng.randrange(len(data))]
        path.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tomogram = open_tomogram(path)
                found = tomogram.read()
        except InputError as error:
            assert "\n" not in str(error)
            continue
        voxel, volume = read_plainly(bytes(data))
        assert tomogram.voxel_size_angstrom == pytest.approx(voxel, rel=1e-5)
        if tomogram.data.dtype != np.uint8:
            np.testing.assert_array_equal(found, volume)
        assert tomogram.tilt_range_deg in ((-50, 60), (-60, 60))
        n_read += 1
    return n_read


def test_damaged_headers(sound, tmp_path):
    assert fuzz(sound, tmp_path / "a.mrc", 0, 300) > 50


@pytest.mark.full
def test_many_damaged_headers(sound, tmp_path):
    assert fuzz(sound, tmp_path / "a.mrc", 1, 3000) > 500
