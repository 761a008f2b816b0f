"""Noise and signal that fall off with tilt: measured, and taken into account."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from few_rotations import QUICK
from rich.console import Console
from scipy.spatial.transform import Rotation

from aitom_disca.alignment import Coefficients, Slicer
from aitom_disca.alignment.graded_wedge import measure_fall_off
from aitom_disca.alignment.local_search import slices_at
from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.analysis.wedge_bias import pose_gathering
from aitom_disca.averaging.compare_maps import compare_with_map
from aitom_disca.averaging.gold_standard import average_cluster
from aitom_disca.bench.case_data import load_templates
from aitom_disca.bench.crowded import (
    crowded_subtomograms,
    falling_off,
    hollow_shell,
    measure_wedge_bias,
)
from aitom_disca.classification import AlignmentSorter
from aitom_disca.classification.assign_others import Assigner
from aitom_disca.cli.app import main
from aitom_disca.errors import InputError
from aitom_disca.geometry.fall_off_with_tilt import TILTS_DEG, FallOff
from aitom_disca.io import open_tomogram
from aitom_disca.io.result_tables import write_labels_csv
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline import average
from aitom_disca.progress import shown
from aitom_disca.search.candidates import cut_boxes
from aitom_disca.simulation.phantoms import Phantom
from aitom_disca.subtomograms.preprocess import normalise

TILT = (-60.0, 60.0)
BOX, VOXEL, N = 18, 16.0, 60
STEEP = falling_off(0.3, 0.55)  # amplitudes of the noise, and of signal over noise, at 60 degrees
EVEN = FallOff(np.ones(60), np.ones(60))


@pytest.fixture(scope="module")
def globule() -> Phantom:
    """Round about the size of a ribosome, without symmetry."""
    rng = np.random.default_rng(5)
    places = rng.normal(size=(16, 3))
    places *= (rng.uniform(20, 90, 16) / np.linalg.norm(places, axis=1))[:, None]
    places -= places.mean(axis=0)
    return Phantom("globule", "", places, places, rng.uniform(22, 38, 16))


def seen(template, fall_off=None, *, n=N, snr=0.05, seed=0):
    return crowded_subtomograms(
        template, [], n, BOX, VOXEL, snr, n_neighbours=(0, 0), fall_off=fall_off, seed=seed
    )


def shells(fall_off=None, *, n=120, snr=0.05, seed=0) -> np.ndarray:
    """The mean of hollow particles tells much: it has detail at many frequencies."""
    return crowded_subtomograms(
        hollow_shell(), [], n, 20, 13.0, snr, n_neighbours=(0, 0), fall_off=fall_off, seed=seed
    ).volumes


def at(amplitude: np.ndarray, tilt_deg: float) -> float:
    return float(np.interp(tilt_deg, TILTS_DEG, amplitude))


# -- the measurement -----------------------------------------------------------------------


@pytest.mark.parametrize(("noise", "signal"), [(1.0, 0.35), (0.4, 1.0), (0.5, 0.5)])
def test_noise_and_signal_are_told_apart(noise: float, signal: float) -> None:
    fall_off = falling_off(noise, signal)
    found = measure_fall_off(shells(fall_off), TILT)
    for tilt in (-55, -35, 0, 35, 55):
        assert at(found.noise, tilt) == pytest.approx(at(fall_off.noise, tilt), abs=0.1)
        assert at(found.signal, tilt) == pytest.approx(at(fall_off.signal, tilt), abs=0.17)
    assert found.noise.max() == found.signal.max() == 1


def test_a_series_whose_dose_grows_falls_off_on_one_side() -> None:
    fading = FallOff(np.ones(60), np.exp(-np.clip(TILTS_DEG + 60, 0, None) / 100))
    found = measure_fall_off(shells(fading), TILT)
    assert at(found.signal, -55) > 0.9 and at(found.signal, 55) < 0.6


@pytest.mark.parametrize("snr", [0.03, 3.0])
def test_a_binary_wedge_is_left_as_it_is(globule: Phantom, snr: float) -> None:
    graded = [measure_fall_off(seen(globule, snr=snr, seed=s).volumes, TILT) for s in range(6)]
    assert graded == [None] * 6
    few = seen(globule, STEEP, n=12).volumes
    assert measure_fall_off(few, TILT) is None


def test_the_shared_cell_is_nearly_flat(shared_data: Path) -> None:
    truth = np.genfromtxt(shared_data / "cell" / "truth.csv", delimiter=",", dtype=str)[1:]
    abundant = truth[truth[:, 2] == "abundant"]
    centres = abundant[:, [5, 4, 3]].astype(float)
    tomogram = open_tomogram(shared_data / "cell" / "cell_raw.mrc")
    inside = (np.minimum(centres, np.array(tomogram.shape_zyx) - centres) > 17).all(axis=1)
    volumes = -normalise(cut_boxes(tomogram, np.round(centres[inside]), 32))
    assert measure_fall_off(volumes, TILT) is None


# -- what is done with it --------------------------------------------------------------------


def test_without_a_fall_off_nothing_changes_by_a_bit(rng: np.random.Generator) -> None:
    plain, even = (Coefficients(12, 4.5, TILT, fall_off) for fall_off in (None, EVEN))
    volume = rng.normal(size=(12, 12, 12)).astype(np.float32)
    turns = rotation_grid(7)
    np.testing.assert_array_equal(plain.of(volume[None]), even.of(volume[None]))
    np.testing.assert_array_equal(Slicer(plain, turns)(volume), Slicer(even, turns)(volume))
    sums = Slicer(plain, turns)(volume)
    for one, other in zip(
        *(Slicer(c, turns).insert(sums, np.arange(7.0)) for c in (plain, even)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_slices_and_insertion_are_weighed_by_amplitude(rng: np.random.Generator) -> None:
    """Against a binary wedge: slices times a, and sums of a x and of a squared."""
    plain, graded = (Coefficients(12, 4.5, TILT, fall_off) for fall_off in (None, STEEP))
    kz, kx = graded.index_zyx[:, 0], graded.index_zyx[:, 2]
    tilt = np.rad2deg(np.arctan(kz / np.where(kx == 0, 1e-9, kx)))
    tilt[(kx == 0) & (kz == 0)] = 0
    amplitude, noise = 0.55 ** ((tilt / 60) ** 2), 0.3 ** ((tilt / 60) ** 2)
    np.testing.assert_allclose(graded.amplitude, amplitude, rtol=2e-2)
    amplitude = graded.amplitude
    volume = rng.normal(size=(12, 12, 12)).astype(np.float32)
    np.testing.assert_allclose(graded.of(volume[None]) * noise, plain.of(volume[None]), rtol=5e-2)
    turns = Rotation.random(5, random_state=1)
    slicer, weighed = Slicer(plain, turns), Slicer(graded, turns)
    expected = slicer(volume) * amplitude
    np.testing.assert_allclose(weighed(volume), expected, atol=1e-4)
    np.testing.assert_allclose(slices_at(volume, graded, turns), expected, atol=1e-3)
    sums, counts = slicer(volume), np.arange(1.0, 6.0)
    total, weight = weighed.insert(sums, counts)
    np.testing.assert_allclose(total, slicer.insert(sums * amplitude, counts)[0], atol=1e-3)
    squares = np.repeat(counts[:, None], len(amplitude), axis=1) * amplitude**2
    real = slicer.insert(squares.astype(np.complex64), counts)[0].real
    n = 12  # the adjoint of real parts is mirrored just as weights are
    np.testing.assert_allclose(weight[n], real[n], atol=1e-3)


def test_poses_gather_behind_a_binary_wedge_and_not_behind_a_graded_one(globule: Phantom) -> None:
    made = seen(globule, STEEP)
    truth = globule.density(BOX, VOXEL)
    gathered, correlation = [], []
    for fall_off in (None, "measured"):
        found = average_cluster(made.volumes, TILT, fall_off=fall_off, noisy=False)
        assert (found.fall_off is None) == (fall_off is None)
        gathered.append(pose_gathering(found.rotations))
        correlation.append(
            compare_with_map(
                found.average, truth, voxel_size_angstrom=1.0, known_voxel_size_angstrom=1.0
            ).correlation
        )
    binary, even = gathered
    assert binary.beam > 0.5 and binary.near_beam_axis > N / 4 and binary.warning
    assert even.beam < 0.2 and even.near_beam_axis < N / 10 and not even.warning
    assert even.tilt_p > 0.01
    assert correlation[1] > correlation[0] + 0.05


def test_sorting_measures_says_and_hands_on_the_fall_off(globule: Phantom) -> None:
    volumes = seen(globule, STEEP, n=40, snr=0.2).volumes
    said = StringIO()
    with shown(Console(file=said, width=200)):
        sorter = AlignmentSorter(volumes, TILT, settings=QUICK)
    assert "the wedge is graded: beside the best tilts, amplitudes 0." in said.getvalue()
    labels = sorter.refine(np.zeros(40, int), most=1, splits=0)
    learnt = sorter.learnt()
    assert learnt.fall_off.shape == (2, 60) and at(learnt.fall_off[0], 55) < 0.6
    assert (Assigner(learnt, settings=QUICK).assign(volumes)[0] == labels).mean() > 0.9
    said = StringIO()
    with shown(Console(file=said, width=200)):
        AlignmentSorter(volumes, TILT, graded_wedge=False, settings=QUICK)
    assert "graded" not in said.getvalue()


def test_all_clusters_of_a_store_are_averaged_with_one_fall_off(
    globule: Phantom, tmp_path: Path, monkeypatch
) -> None:
    """Each by itself may be too small to measure it."""
    volumes = seen(globule, STEEP, n=30, snr=0.2).volumes
    particles = ParticleSet(np.full(30, "t"), np.full((30, 3), np.nan))
    with StoreWriter.create(tmp_path / "s.h5", (BOX,) * 3, VOXEL, TILT) as store:
        store.append(volumes, particles)
    write_labels_csv(tmp_path / "labels.csv", np.arange(30) % 3)
    given = []

    def judged(*_, settings, fall_off, **__):
        given.append(fall_off)
        raise InputError("nothing was averaged")

    monkeypatch.setattr(average, "judged_average", judged)
    labels = ["--labels", str(tmp_path / "labels.csv")]
    command = ["average", str(tmp_path / "s.h5"), *labels, "--out", str(tmp_path / "out")]
    assert main(command) == main([*command, "--binary-wedge"]) == 2
    assert len(given) == 6 and given[3:] == [None] * 3
    assert given[0] is given[1] is given[2] and at(given[0].noise, 55) < 0.6


@pytest.mark.full
def test_crowded_particles_behind_a_graded_wedge(shared_data: Path) -> None:
    """About three minutes."""
    templates = load_templates(shared_data / "templates")
    how = {"seeds": (0, 1), "tilt_range_deg": TILT, "fall_off": STEEP}
    binary, graded = (
        list(measure_wedge_bias(templates, graded_wedge=on, **how)) for on in (False, True)
    )
    assert min(row["gathered_about_beam"] for row in binary) > 0.4
    assert max(row["gathered_about_beam"] for row in graded) < 0.25
    assert all(
        b["correlation"] + 0.02 < g["correlation"] for b, g in zip(binary, graded, strict=True)
    )
