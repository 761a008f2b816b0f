"""Averages of clusters: poses found without a reference, halves, files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
from few_rotations import averaging_quickly
from scipy.spatial.transform import Rotation

from aitom_disca.alignment import Coefficients, Slicer, local_search
from aitom_disca.alignment.coefficients import centred_fft
from aitom_disca.alignment.local_search import refine_poses, slices_at
from aitom_disca.alignment.slices import padded_for_slices
from aitom_disca.alignment.to_reference import AlignedPoses
from aitom_disca.analysis.wedge_bias import pose_gathering
from aitom_disca.averaging import (
    ClusterAverage,
    average_cluster,
    compare_with_map,
    fourier_shell_correlation,
)
from aitom_disca.averaging.fsc import corrected_fsc
from aitom_disca.averaging.validation import JudgedAverage
from aitom_disca.cli.app import main
from aitom_disca.config import AverageSettings
from aitom_disca.curation.averages import averages_now
from aitom_disca.errors import InputError
from aitom_disca.geometry.rotations import rotation_from_euler_zyz_deg
from aitom_disca.io import open_store, read_rows_csv
from aitom_disca.io.formats.relion.read_star import read_particles_star
from aitom_disca.io.result_tables import write_labels_csv
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.mining.sort_store import drawn_rows
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.pipeline import average, average_files, average_one_cluster
from aitom_disca.pipeline.average_files import posed
from aitom_disca.pipeline.average_inputs import settings_for_members
from aitom_disca.pipeline.average_tables import Averaged
from aitom_disca.simulation import load_phantoms, simulate_subtomograms
from aitom_disca.simulation.subtomograms import SimulatedSubtomograms

TILT = (-60.0, 60.0)
BOX, VOXEL, N = 16, 20.0, 32
NO_TEST = AverageSettings(null_test="none")


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    with averaging_quickly():
        yield


@pytest.fixture(scope="module")
def phantom():
    return load_phantoms()["letter_l"]


@pytest.fixture(scope="module")
def made(phantom) -> SimulatedSubtomograms:
    return simulate_subtomograms([phantom], N, BOX, VOXEL, 0.3, TILT, 1.5, seed=1)


@pytest.fixture(scope="module")
def found(made: SimulatedSubtomograms) -> ClusterAverage:
    return average_cluster(made.volumes, TILT, seed=0)


def errors_deg(first: Rotation, second: Rotation) -> np.ndarray:
    return np.rad2deg((first * second.inv()).magnitude())


# -- poses round what is known ---------------------------------------------------------------


def test_slices_at_any_rotations_are_those_of_the_slicer(phantom) -> None:
    coefficients = Coefficients(14, 5, TILT)
    rotations = Rotation.random(4, random_state=0)
    volume = phantom.density(14, 20.0)
    expected = Slicer(coefficients, rotations)(volume)
    np.testing.assert_allclose(
        slices_at(volume, coefficients, rotations), expected, atol=1e-5 * np.abs(expected).max()
    )


def test_poses_climb_to_the_planted_ones(phantom) -> None:
    made = simulate_subtomograms([phantom], 12, 20, 16.0, 0.3, TILT, 1.5, seed=1)
    coefficients = Coefficients(20, 8, TILT)
    values = coefficients.of(made.volumes)
    away = Rotation.from_rotvec(np.deg2rad(np.random.default_rng(0).normal(0, 6, (12, 3))))
    truth = made.rotations
    rotations, offsets, score = refine_poses(
        values, coefficients, phantom.density(20, 16.0), truth * away, np.zeros((12, 3))
    )
    assert np.median(errors_deg(truth * away, truth)) > 6
    assert np.median(errors_deg(rotations, truth)) < 2.5
    assert np.abs(offsets - made.shifts_zyx_px).mean() < 0.25
    assert (score > 0.5).all() and (score <= 1).all()


def test_what_stays_is_not_tried_again_and_nothing_else_changes(
    phantom, made: SimulatedSubtomograms
) -> None:
    coefficients, volume = Coefficients(BOX, 6, TILT), phantom.density(BOX, VOXEL)
    values = coefficients.of(made.volumes[:12])
    quaternions, offsets = made.rotations[:12].as_quat(), made.shifts_zyx_px[:12] + 0.7
    found = refine_poses(
        values, coefficients, volume, made.rotations[:12], offsets, [(4.0, 0.5), (2.0, 0.3)]
    )
    spectrum = centred_fft(padded_for_slices(volume)).astype(np.complex64)
    for step in ((4.0, 0.5),) * 3 + ((2.0, 0.3),) * 3:
        quaternions, offsets, score, _ = local_search._step(
            values, coefficients, spectrum, quaternions, offsets, step
        )
    assert errors_deg(found[0], Rotation.from_quat(quaternions)).max() < 1e-4
    np.testing.assert_allclose(found[1], offsets, atol=1e-12)
    np.testing.assert_allclose(found[2], score, atol=1e-5)


# -- from nothing ----------------------------------------------------------------------------


def test_the_structure_comes_out_without_a_reference(
    phantom, made: SimulatedSubtomograms, found: ClusterAverage
) -> None:
    sizes = {"voxel_size_angstrom": VOXEL, "known_voxel_size_angstrom": VOXEL}
    known = phantom.density(BOX, VOXEL)
    compared = compare_with_map(found.average, known, **sizes)
    assert compared.correlation > 0.9
    # One turn, of the average as a whole, explains the poses of both halves.
    error = errors_deg(found.rotations * compared.rotation, made.rotations)
    for half in (0, 1):
        assert np.median(error[found.half == half]) < 6
    assert set(found.half) == {0, 1} and abs(int(found.half.sum()) - N // 2) <= 1
    curve = fourier_shell_correlation(found.half1, found.half2, VOXEL)
    assert (curve.correlation[:4] > 0.85).all()


def test_the_average_lies_in_the_middle_of_its_box(found: ClusterAverage) -> None:
    mass = np.clip(found.average - found.average.max() / 3, 0, None)
    place = (np.indices(mass.shape) * mass).sum(axis=(1, 2, 3)) / mass.sum() - BOX // 2
    assert np.abs(place).max() < 0.6


def test_the_average_is_made_of_its_halves(found: ClusterAverage) -> None:
    middle = (found.half1 + found.half2) / 2
    assert np.corrcoef(middle.ravel(), found.average.ravel())[0, 1] > 0.97


def test_the_same_seed_gives_the_same_average(
    made: SimulatedSubtomograms, found: ClusterAverage
) -> None:
    again = average_cluster(made.volumes, TILT, seed=0)
    np.testing.assert_array_equal(again.average, found.average)
    np.testing.assert_array_equal(again.rotations.as_quat(), found.rotations.as_quat())


def test_noise_alone_gives_halves_that_do_not_agree() -> None:
    noise = np.random.default_rng(0).normal(size=(30, BOX, BOX, BOX)).astype(np.float32)
    found = average_cluster(noise, TILT)
    curve = fourier_shell_correlation(found.half1, found.half2, VOXEL)
    assert (np.abs(curve.correlation[5:]) < 0.4).all()


@pytest.mark.parametrize(
    ("volumes", "tilt", "match"),
    [
        (np.ones((3, 8, 8, 8)), TILT, "at least 4 members, but there are 3"),
        (np.ones((5, 8, 8, 8)), TILT, "all members are the same volume"),
        (np.random.default_rng(0).normal(size=(5, 8, 8, 8)), (10.0, 10.0), "has no width"),
    ],
)
def test_what_cannot_be_averaged_is_said(volumes, tilt, match) -> None:
    with pytest.raises(InputError, match=match):
        average_cluster(volumes, tilt)


# -- files -----------------------------------------------------------------------------------


def written(path: Path, volumes: np.ndarray) -> Path:
    """A store of particles at random places."""
    info = TomogramInfo("t", VOXEL / 2, (300, 310, 320), TILT)
    n = len(volumes)
    centres = np.random.default_rng(3).uniform(50, 250, (n, 3))
    particles = ParticleSet(np.array(["t"] * n), centres, tomograms={"t": info})
    with StoreWriter.create(path, (BOX,) * 3, VOXEL, TILT, {"t": info}) as writer:
        writer.append(volumes, particles)
    return path


@pytest.fixture
def store(tmp_path: Path, made: SimulatedSubtomograms) -> Path:
    return written(tmp_path / "s.h5", made.volumes)


def test_particles_are_moved_to_where_they_lie_in_their_boxes(found: ClusterAverage) -> None:
    info = TomogramInfo("t", VOXEL / 2, (300, 310, 320), TILT)
    centres = np.full((N, 3), 100.0)
    particles = ParticleSet(np.array(["t"] * N), centres, tomograms={"t": info})
    poses = AlignedPoses(found.rotations, found.shifts_zyx_px, found.score)
    moved = posed(particles, poses, VOXEL)
    np.testing.assert_allclose(moved.center_zyx_px - 100, 2 * found.shifts_zyx_px)
    angles = rotation_from_euler_zyz_deg(moved.euler_zyz_deg)
    assert errors_deg(angles, found.rotations).max() < 1e-3


def test_the_command_writes_a_folder_for_every_cluster(tmp_path: Path, store: Path) -> None:
    labels = np.array([0] * 14 + [1] * 14 + [2] * 3 + [-1])
    write_labels_csv(tmp_path / "labels.csv", labels)
    out = tmp_path / "out"
    command = ["average", str(store), "--labels", str(tmp_path / "labels.csv"), "--out", str(out)]
    assert main([*command, "--null-test", "none"]) == 0
    rows = read_rows_csv(out / "averages.csv")
    assert [(row["cluster"], row["members"]) for row in rows] == [("1", "14"), ("2", "14")]
    names = {"average.mrc", "half1.mrc", "half2.mrc", "mask.mrc", "fsc.csv", "fsc.png"}
    names |= {"filtered.mrc", "surface.png"}
    names |= {"slices.png", "particles.star"}
    for k in (1, 2):
        folder = out / f"cluster_{k:02d}"
        assert {path.name for path in folder.iterdir()} == names
        with mrcfile.open(folder / "average.mrc") as mrc:
            assert mrc.data.shape == (BOX,) * 3
            assert float(mrc.voxel_size.x) == pytest.approx(VOXEL)
        particles = read_particles_star(folder / "particles.star")
        assert len(particles) == 14 and particles.euler_zyz_deg is not None
        assert np.ptp(particles.euler_zyz_deg, axis=0).min() > 30
        fsc = read_rows_csv(folder / "fsc.csv")
        assert float(fsc[0]["unmasked"]) == 1 and len(fsc) == BOX // 2 + 1
    assert not (out / "cluster_03").exists()
    assert main(command) == 2  # what is there is kept


def average_at_once(found: ClusterAverage):
    """In place of `average_members`: one average stands for that of any members."""
    fsc = corrected_fsc(found.half1, found.half2, np.ones((BOX,) * 3), VOXEL)
    curve, gathering = fsc.corrected, pose_gathering(found.rotations)
    one = JudgedAverage(found, found.average, fsc, found.average, gathering, curve, curve, BOX)

    def averaged(source, k, rows, *_):
        still = np.zeros((len(rows), 3))
        poses = AlignedPoses(Rotation.identity(len(rows)), still, np.ones(len(rows)))
        return Averaged(k, rows, one), poses, np.arange(len(rows)) % 2

    return averaged


def test_after_decisions_single_clusters_are_averaged_again(
    tmp_path: Path,
    store: Path,
    found: ClusterAverage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(average, "average_members", average_at_once(found))
    monkeypatch.setattr(average_files, "_pictures", lambda *_: {})
    labels = np.array([0] * 5 + [1] * 5 + [2] * 5 + [-1] * (N - 15))
    write_labels_csv(tmp_path / "labels.csv", labels)
    command = ["average", str(store), "--labels", str(tmp_path / "labels.csv")]
    command += ["--out", str(tmp_path / "averages"), "--overwrite", "--binary-wedge"]
    assert main(command) == 0
    decisions = ["--merge", "2+3", "--name", "1=ring", "--store", str(store)]
    assert main(["curate", str(tmp_path), *decisions]) == 0
    said = "".join(capsys.readouterr().out.split())
    assert "2decisionsadded" in said
    typed = said.partition("makethemagain:aitom-disca")[2]
    assert typed.startswith(f"average{store}--labels") and "--cluster2--overwrite" in typed
    assert averages_now(tmp_path / "averages").outdated == {
        2: "decision 1 merged 3 into it",
        3: "decision 1 merged it into 2",
    }
    before = (tmp_path / "averages" / "cluster_01" / "average.mrc").read_bytes()
    assert main([*command, "--cluster", "2"]) == 0
    assert not averages_now(tmp_path / "averages").outdated
    rows = read_rows_csv(tmp_path / "averages" / "averages.csv")
    assert [(row["name"], row["members"]) for row in rows] == [("ring", "5"), ("", "10")]
    assert (tmp_path / "averages" / "cluster_01" / "average.mrc").read_bytes() == before
    assert not (tmp_path / "averages" / "cluster_03").exists()
    members = read_particles_star(tmp_path / "averages" / "particles.star")
    assert members.more["aitomDiscaClusterName"].tolist() == ["ring"] * 5 + ["None"] * 10
    counts = read_rows_csv(tmp_path / "averages" / "space" / "counts.csv")
    assert [(row["cluster"], row["name"]) for row in counts] == [("1", "ring"), ("2", "")]


def test_a_particle_picked_twice_counts_once(tmp_path, made, capsys, monkeypatch) -> None:
    begun, tests = [], []
    judged, tested = average.judged_average, average.tested

    def average_it(*args, begin, **options):
        begun.append(begin)
        return judged(*args, begin=begin, **options)

    def test(*args, **options):
        tests.append(args)
        return tested(*args, **options)

    monkeypatch.setattr(average, "judged_average", average_it)
    monkeypatch.setattr(average, "tested", test)
    info = TomogramInfo("t", VOXEL / 2, (300, 310, 320), TILT)
    centres = np.random.default_rng(3).uniform(50, 250, (N, 3))
    twice = np.append(np.arange(N), 2)
    particles = ParticleSet(np.array(["t"] * (N + 1)), centres[twice], tomograms={"t": info})
    with StoreWriter.create(tmp_path / "s.h5", (BOX,) * 3, VOXEL, TILT, {"t": info}) as writer:
        writer.append(made.volumes[twice], particles)
    for extra, members in ((["--min-distance-angstrom", "0"], N + 1), ([], N)):
        out = tmp_path / f"of_{members}"
        extra = [*extra, "--null-test", "none"]
        assert main(["average", str(tmp_path / "s.h5"), "--out", str(out), *extra]) == 0
        assert int(read_rows_csv(out / "averages.csv")[0]["members"]) == members
        assert len(read_particles_star(out / "particles.star")) == members
    assert f"1 of {N + 1} are particles picked twice" in capsys.readouterr().out
    # What is left goes on from its poses and halves, and is tested once, at the end.
    assert begun[:2] == [None, None] and len(begun[2].rotations) == N and len(begun) == 3
    assert len(tests) == 2


def test_members_beyond_the_most_are_laid_on_the_average(
    tmp_path: Path, store: Path, made: SimulatedSubtomograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(average_one_cluster, "_LAID_AT_ONCE", 7)
    plain, leads = average_one_cluster.align_to_reference, set()

    def laid(*given, settings, **options):
        leads.add(settings.leads)
        return plain(*given, settings=settings, **options)

    monkeypatch.setattr(average_one_cluster, "align_to_reference", laid)
    settings = AverageSettings(
        most=20, mask_diameter_angstrom=300, null_test="none", to_reference={"leads": 2}
    )
    (one,) = average.average_store(store, tmp_path / "out", settings)
    assert leads == {2}
    assert len(one.judged.found.rotations) == 20 and len(one.rows) == N
    posed_ = read_particles_star(tmp_path / "out" / "particles.star")
    assert len(posed_) == N and posed_.euler_zyz_deg is not None
    rotations = rotation_from_euler_zyz_deg(posed_.euler_zyz_deg)
    drawn = drawn_rows(N, 20, np.random.default_rng(0))
    rest = np.setdiff1d(np.arange(N), drawn)
    # The turn of the average as a whole, as the averaged members tell it.
    whole = (made.rotations[drawn].inv() * rotations[drawn]).mean()
    assert np.median(errors_deg(rotations[rest] * whole.inv(), made.rotations[rest])) < 8


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--cluster", "7"], "there is no cluster 7; the labels hold 1"),
        (["--labels", "short.csv"], "has 3 and"),
        (["--labels", "tiny.csv"], "no cluster has the 4 members"),
    ],
)
def test_wrong_input_is_one_sentence(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture, options: list[str], match: str
) -> None:
    write_labels_csv(tmp_path / "short.csv", np.zeros(3, int))
    write_labels_csv(tmp_path / "tiny.csv", np.array([0] * 3 + [1] * 3 + [-1] * (N - 6)))
    options = [str(tmp_path / o) if o.endswith(".csv") else o for o in options]
    assert main(["average", str(store), "--out", str(tmp_path / "out"), *options]) == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# -- with a network ----------------------------------------------------------------------------


def a_network(truth: SimulatedSubtomograms, wrong: int):
    """Says the truth, but for every so many of them."""

    def finds(volumes: np.ndarray, target: np.ndarray) -> tuple[Rotation, np.ndarray]:
        same = [int(np.abs(truth.volumes - v).sum(axis=(1, 2, 3)).argmin()) for v in volumes]
        quaternions = truth.rotations[same].as_quat()
        quaternions[::wrong] = Rotation.random(len(quaternions[::wrong]), random_state=0).as_quat()
        return Rotation.from_quat(quaternions), truth.shifts_zyx_px[same]

    return finds


def test_a_network_alone_decides_if_it_is_asked_to(phantom, made: SimulatedSubtomograms) -> None:
    found = average_cluster(made.volumes, TILT, network=a_network(made, 100), everywhere=False)
    sizes = {"voxel_size_angstrom": VOXEL, "known_voxel_size_angstrom": VOXEL}
    compared = compare_with_map(found.average, phantom.density(BOX, VOXEL), **sizes)
    assert compared.correlation > 0.93
    assert np.median(errors_deg(found.rotations * compared.rotation, made.rotations)) < 8


def test_of_the_network_and_the_search_the_better_pose_is_taken(
    phantom, made: SimulatedSubtomograms, found: ClusterAverage
) -> None:
    both = average_cluster(made.volumes, TILT, network=a_network(made, 2))
    assert both.score.mean() > found.score.mean() - 0.005
    known = phantom.density(BOX, VOXEL)
    sizes = {"voxel_size_angstrom": VOXEL, "known_voxel_size_angstrom": VOXEL}
    ours, alone = (compare_with_map(f.average, known, **sizes).correlation for f in (both, found))
    assert ours > alone - 0.01


def test_a_network_is_trained_and_used_from_the_command_line(
    tmp_path, made, capsys, uncompiled, monkeypatch
) -> None:
    pytest.importorskip("keras")
    from aitom_disca.network.gumnet import poses

    of_the_cube = poses.cube_rotations()
    monkeypatch.setattr(poses, "cube_rotations", lambda: of_the_cube[:2])
    monkeypatch.setattr(poses, "_BATCH", 4)
    store = written(tmp_path / "few.h5", made.volumes[:8])
    network, out = tmp_path / "gum.keras", tmp_path / "out"
    options = ["--epochs", "1", "--width", "0.01", "--out", str(network)]
    assert main(["train-gumnet", str(store), *options]) == 0
    command = ["average", str(store), "--out", str(out), "--aligner", "gumnet+fft"]
    command += ["--null-test", "none"]
    assert main(command) == 2
    assert "needs a network" in capsys.readouterr().err
    assert main([*command, "--gumnet", str(network)]) == 0
    assert float(read_rows_csv(out / "averages.csv")[0]["mean_score"]) > 0.3
    assert main(["train-gumnet", str(store), "--out", str(tmp_path / "gum.h5")]) == 2


# -- one cluster that fails ----------------------------------------------------------------------


def test_a_cluster_that_fails_does_not_keep_the_others_from_it(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    whole, said = average.judged_average, "the fit is singular"

    def judged(volumes: np.ndarray, **options):
        if len(volumes) == 12:
            raise np.linalg.LinAlgError(said)
        return whole(volumes, **options)

    monkeypatch.setattr(average, "judged_average", judged)
    labels = np.array([0] * 20 + [1] * 12)
    write_labels_csv(tmp_path / "labels.csv", labels)
    out = tmp_path / "out"
    command = ["average", str(store), "--labels", str(tmp_path / "labels.csv"), "--out", str(out)]
    assert main(command) == 0
    assert f"cluster 2 could not be averaged: {said}" in capsys.readouterr().out
    first, second = read_rows_csv(out / "averages.csv")
    assert first["verdict"] == "more than noise" and float(first["p_value"]) < 0.01
    assert float(first["tilt_uniform_p"]) > 0 and "resolution_across_angstrom" in first
    assert second["verdict"] == "could not be averaged" and second["error"] == said
    assert not (out / "cluster_02").exists()
    assert main([*command[:-1], str(tmp_path / "alone"), "--cluster", "2"]) == 2
    assert said in capsys.readouterr().err


def test_members_whose_boxes_overlap_go_into_one_half(tmp_path, made) -> None:
    info = TomogramInfo("t", VOXEL / 2, (4000, 310, 320), TILT)
    centres = np.full((N, 3), 100.0) + np.arange(N)[:, None] // 2 * np.array([90.0, 0, 0])
    centres[1::2, 2] += 30  # pairs, 240 A from one another in boxes of 320 A
    particles = ParticleSet(np.array(["t"] * N), centres, tomograms={"t": info})
    with StoreWriter.create(tmp_path / "s.h5", (BOX,) * 3, VOXEL, TILT, {"t": info}) as writer:
        writer.append(made.volumes, particles)
    (one,) = average.average_store(tmp_path / "s.h5", tmp_path / "out", NO_TEST)
    assert isinstance(one, average.Averaged)
    half = one.judged.found.half
    assert (half[::2] == half[1::2]).all() and abs(int(half.sum()) - N // 2) <= 2


def test_the_mask_has_the_size_of_the_particles_where_that_is_known(tmp_path, store) -> None:
    with h5py.File(store, "a") as file:
        del file.attrs["crc32"]
        file.attrs["particle_diameter_angstrom"] = 80.0
    with open_store(store) as source:
        cut_for = settings_for_members(np.arange(N), source, AverageSettings())
    assert cut_for.mask_diameter_angstrom == pytest.approx(92)
    with h5py.File(store, "a") as file:
        file["diameter_angstrom"] = np.r_[np.full(N - 3, 100.0), 200.0, 200.0, 9000.0]
    with open_store(store) as source:
        given = settings_for_members(np.arange(N), source, AverageSettings())
        large = settings_for_members(np.array([N - 1]), source, AverageSettings())
        asked = settings_for_members(
            np.arange(N), source, AverageSettings(mask_diameter_angstrom=90)
        )
    assert given.mask_diameter_angstrom == pytest.approx(115)
    assert large.mask_diameter_angstrom == BOX * VOXEL  # no larger than the box
    assert asked.mask_diameter_angstrom == 90
