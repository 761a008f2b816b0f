"""Extraction of subtomograms into a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aitom_disca.config import ExtractSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry import fourier_crop
from aitom_disca.io.stores.read_store import open_store
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.particles import ParticleSet
from aitom_disca.subtomograms import extract_subtomograms, plan_box

SHAPE = (40, 51, 62)


def make_tomogram(data, name="t1", voxel_size=10.0, tilt_range=(-60.0, 60.0), **options):
    return Tomogram(name, Path(f"{name}.mrc"), data, voxel_size, tilt_range, **options)


def particles_at(*zyx, names=None):
    zyx = np.array(zyx, float)
    names = np.array(names if names is not None else ["t1"] * len(zyx))
    return ParticleSet(names, zyx, score=np.arange(len(zyx), 0, -1.0))


@pytest.fixture
def tomogram(rng):
    return make_tomogram(rng.normal(100, 5, SHAPE).astype(np.float32))


@pytest.mark.parametrize("box_px", [9, 12, 15])
@pytest.mark.parametrize("dark", [False, True])
def test_the_nearest_voxel_comes_to_the_centre(tmp_path, tomogram, box_px, dark):
    data = tomogram.data.copy()
    data[20, 25, 30] += -500 if dark else 500
    tomogram = make_tomogram(data, dark_protein=dark)
    particles = particles_at((20.4, 24.6, 29.5))
    path = tmp_path / "s.h5"
    summary = extract_subtomograms([tomogram], particles, path, ExtractSettings(box_px=box_px))
    with open_store(path) as store:
        volume = store.read()[0]
        np.testing.assert_array_equal(store.particles().center_zyx_px, [(20.4, 24.6, 29.5)])
    assert np.unravel_index(volume.argmax(), volume.shape) == (box_px // 2,) * 3
    assert volume.mean() == pytest.approx(0, abs=1e-5) and volume.std() == pytest.approx(1)
    assert (summary.n_extracted, summary.n_dropped_border, summary.box_px) == (1, 0, box_px)
    assert summary.path == path and summary.voxel_size_angstrom == 10


def test_boxes_are_the_tomogram_voxels_normalised(tmp_path, tomogram):
    extract_subtomograms(
        [tomogram], particles_at((20, 25, 30)), tmp_path / "s.h5", ExtractSettings(box_px=11)
    )
    cut = tomogram.data[15:26, 20:31, 25:36].astype(float)
    with open_store(tmp_path / "s.h5") as store:
        np.testing.assert_allclose(store.read()[0], (cut - cut.mean()) / cut.std(), atol=1e-5)


def test_boxes_that_touch_a_face_stay_and_those_beyond_are_counted(tmp_path, tomogram, caplog):
    touching = [(5, 5, 5), (34, 45, 56)]  # a box of 11 reaches 5 both ways
    beyond = [(4, 25, 30), (20, 46, 30), (20, 25, 57), (-300, 25, 30)]
    particles = particles_at(*touching, *beyond)
    summary = extract_subtomograms(
        [tomogram], particles, tmp_path / "s.h5", ExtractSettings(box_px=11)
    )
    assert (summary.n_extracted, summary.n_dropped_border) == (2, 4)
    assert "4 particles lie too near to a face" in caplog.text
    with open_store(tmp_path / "s.h5") as store:
        np.testing.assert_array_equal(store.particles().center_zyx_px, touching)
        np.testing.assert_array_equal(store.particles().score, particles.score[:2])


def test_constant_boxes_are_left_out_and_counted(tmp_path, tomogram, caplog):
    data = tomogram.data.copy()
    data[:20, :20, :20] = 0.1
    summary = extract_subtomograms(
        [make_tomogram(data)],
        particles_at((10, 10, 10), (25, 30, 40)),
        tmp_path / "s.h5",
        ExtractSettings(box_px=10),
    )
    assert (summary.n_extracted, summary.n_dropped_constant) == (1, 1)
    assert "1 particles lie where the tomogram is constant" in caplog.text


@pytest.mark.parametrize(
    ("voxel_size", "working", "cut", "box"),
    [(10.0, 20.0, 64, 32), (13.3, 20.0, 48, 32), (10.0, None, 32, 32), (10.0, 10.0, 32, 32)],
)
def test_plan_of_a_box(voxel_size, working, cut, box):
    settings = ExtractSettings(box_px=32, working_voxel_size_angstrom=working)
    plan = plan_box(settings, voxel_size)
    assert (plan.cut_px, plan.box_px) == (cut, box)
    assert plan.voxel_size_angstrom == pytest.approx(voxel_size * cut / box)
    assert plan.voxel_size_angstrom == pytest.approx(working or voxel_size, rel=0.02)


def test_the_default_box_is_even_and_1_6_diameters():
    assert plan_box(ExtractSettings(), 10.0).box_px == 32
    assert plan_box(ExtractSettings(), 13.3).box_px == 26
    assert plan_box(ExtractSettings(working_voxel_size_angstrom=20), 10.0).box_px == 16


def test_a_working_voxel_size_crops_the_transform(tmp_path, tomogram):
    settings = ExtractSettings(box_px=9, working_voxel_size_angstrom=20)
    summary = extract_subtomograms(
        [tomogram], particles_at((20, 25, 30)), tmp_path / "s.h5", settings
    )
    cut = fourier_crop(tomogram.data[11:29, 16:34, 21:39], 9)
    with open_store(tmp_path / "s.h5") as store:
        assert store.box_shape_zyx == (9, 9, 9)
        assert store.voxel_size_angstrom == summary.voxel_size_angstrom == 20
        np.testing.assert_allclose(store.read()[0], (cut - cut.mean()) / cut.std(), atol=1e-4)


def test_a_blob_stays_centred_at_the_working_voxel_size(tmp_path):
    grid = np.indices(SHAPE)
    offsets = (grid - np.array((20, 25, 30))[:, None, None, None]) ** 2
    blob = make_tomogram(np.exp(-offsets.sum(0) / (2 * 3.0**2)).astype(np.float32))
    for box in (13, 14):
        extract_subtomograms(
            [blob],
            particles_at((20, 25, 30)),
            tmp_path / f"{box}.h5",
            ExtractSettings(box_px=box, working_voxel_size_angstrom=20),
        )
        with open_store(tmp_path / f"{box}.h5") as store:
            volume = store.read()[0]
        assert np.unravel_index(volume.argmax(), volume.shape) == (box // 2,) * 3


def test_batches_and_several_tomograms_keep_the_order(tmp_path, rng, monkeypatch):
    first = make_tomogram(rng.normal(size=SHAPE).astype(np.float32), "a")
    second = make_tomogram(rng.normal(size=SHAPE).astype(np.float32), "b", tilt_range=(-50, 62))
    unused = make_tomogram(np.zeros((3, 3, 3), np.float32), "c", 99.0)
    zyx = rng.integers(6, 34, (7, 3)) + 0.25
    particles = particles_at(*zyx, names=list("abbabaa"))
    settings = ExtractSettings(box_px=10)
    every = [first, second, unused]
    extract_subtomograms(every, particles, tmp_path / "at_once.h5", settings)
    monkeypatch.setattr("aitom_disca.subtomograms.cut_boxes._BATCH_VOXELS", 3 * 10**3)
    extract_subtomograms(every, particles, tmp_path / "batched.h5", settings)
    with open_store(tmp_path / "at_once.h5") as one, open_store(tmp_path / "batched.h5") as other:
        np.testing.assert_array_equal(one.read(), other.read())
        stored = other.particles()
        own = {"a": (-60, 60), "b": (-50, 62)}
        np.testing.assert_array_equal(other.tilt_range_deg, [own[name] for name in "abbabaa"])
        assert other.common_tilt_range_deg == (-50, 60)
    assert list(stored.tomogram_name) == list("abbabaa")
    np.testing.assert_array_equal(stored.center_zyx_px, zyx)
    assert set(stored.tomograms) == {"a", "b"}
    assert stored.tomograms["b"].tilt_range_deg == (-50, 62)


# bad input


def refused(match, tmp_path, tomograms, particles, path="s.h5", **settings):
    with pytest.raises(InputError, match=match):
        extract_subtomograms(tomograms, particles, tmp_path / path, ExtractSettings(**settings))
    assert not (tmp_path / "s.h5").exists()


def test_no_particles(tmp_path, tomogram):
    refused("no particles to extract", tmp_path, [tomogram], particles_at((1, 1, 1)).select([]))


def test_unknown_positions(tmp_path, tomogram):
    particles = particles_at((20, 25, 30), (np.nan, 1, 1))
    refused("1 of 2 particles have no voxel position", tmp_path, [tomogram], particles)


def test_an_unknown_tomogram(tmp_path, tomogram):
    particles = particles_at((20, 25, 30), names=["t9"])
    refused("first 't9'; the tomograms given are t1", tmp_path, [tomogram], particles)


def test_different_voxel_sizes(tmp_path, tomogram):
    other = make_tomogram(tomogram.data, "t2", 12.0)
    particles = particles_at((20, 25, 30), (20, 25, 30), names=["t1", "t2"])
    refused("t1 has 10 A, t2 12 A", tmp_path, [tomogram, other], particles)


def test_a_box_larger_than_the_tomogram(tmp_path, tomogram):
    refused(
        r"a box of 42 voxels is larger than tomogram t1, which is \(40, 51, 62\)",
        tmp_path,
        [tomogram],
        particles_at((20, 25, 30)),
        box_px=42,
    )


def test_a_working_voxel_size_below_the_tomograms(tmp_path, tomogram):
    refused(
        "working voxel size 5 A is smaller",
        tmp_path,
        [tomogram],
        particles_at((20, 25, 30)),
        working_voxel_size_angstrom=5,
    )


def test_every_particle_too_near_to_a_face(tmp_path, tomogram):
    particles = particles_at((2, 25, 30), (20, 2, 30))
    refused("none of the 2 particles lies far enough", tmp_path, [tomogram], particles, box_px=10)


def test_every_box_constant(tmp_path):
    flat = make_tomogram(np.ones(SHAPE, np.float32))
    refused("every box is constant", tmp_path, [flat], particles_at((20, 25, 30)), box_px=10)


def test_voxels_that_are_not_finite(tmp_path, tomogram):
    data = tomogram.data.copy()
    data[20, 25, 30] = np.nan
    refused("not finite", tmp_path, [make_tomogram(data)], particles_at((22, 25, 30)), box_px=10)


def test_an_existing_store_is_kept_unless_overwritten(tmp_path, tomogram):
    path, settings = tmp_path / "s.h5", ExtractSettings(box_px=10)
    particles = particles_at((20, 25, 30), (15, 20, 25))
    extract_subtomograms([tomogram], particles, path, settings)
    with pytest.raises(InputError, match="is there already"):
        extract_subtomograms([tomogram], particles, path, settings)
    extract_subtomograms([tomogram], particles.select([0]), path, settings, overwrite=True)
    with open_store(path) as store:
        assert len(store) == 1
