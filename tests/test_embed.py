"""Averages put back into the tomogram: where, how bright, whose, and in how much memory."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from aitom_disca.cli.app import main
from aitom_disca.colours import cluster_colour
from aitom_disca.curation import Curation, Decision
from aitom_disca.curation.averages import mark_averages, shown_averages
from aitom_disca.errors import InputError
from aitom_disca.geometry import rotation_from_euler_zyz_deg
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.io import (
    read_rows_csv,
    write_labels_csv,
    write_particles_star,
    write_rows_csv,
    write_volume,
)
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.reembedding import PlacedAverage, embed_averages, embed_tomogram
from aitom_disca.reembedding.embedded_files import files_of_earlier
from aitom_disca.simulation import SimulatedTomogram, load_phantoms, simulate_tomogram

SHAPE, VOXEL = (62, 98, 113), 12.0
FULL = (-90.0, 90.0)
NAMES = ("letter_l", "two_lobes")


@pytest.fixture(scope="module")
def planted() -> SimulatedTomogram:
    phantoms = load_phantoms()
    return simulate_tomogram([phantoms[n] for n in NAMES], 8, SHAPE, VOXEL, np.inf, FULL, seed=3)


def places(made: SimulatedTomogram, box: int = 40, voxel: float = VOXEL) -> list[PlacedAverage]:
    """The two structures at their true poses, as averages of some sampling."""
    truth = made.truth
    return [
        PlacedAverage(
            k + 1,
            load_phantoms()[name].density(box, voxel) + 3,  # a background that must go
            voxel,
            truth.center_zyx_px[truth.cluster == k],
            truth.euler_zyz_deg[truth.cluster == k],
        )
        for k, name in enumerate(NAMES)
    ]


def info_of(made: SimulatedTomogram) -> TomogramInfo:
    return made.truth.tomograms["simulated"]


def one_ball(number=1, zyx=((20, 20, 20),), radius=6, height=1.0, box=24) -> PlacedAverage:
    ball = height * soft_sphere(box, radius, 2)
    centres = np.array(zyx, float)
    return PlacedAverage(number, ball, 10.0, centres, np.zeros((len(centres), 3)))


def embed(tmp_path: Path, placed, info, **options) -> tuple[np.ndarray, np.ndarray]:
    density, labels = tmp_path / "density.mrc", tmp_path / "labels.mrc"
    embed_tomogram(placed, info, density, labels, **options)
    return mrcfile.read(density), mrcfile.read(labels)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# -- where and how bright --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "voxel"),
    [(40, 12.0), (39, 12.0), (30, 15.5), (48, 9.0)],
    ids="even odd coarse fine".split(),
)
def test_planted_particles_are_drawn_onto_themselves(tmp_path, planted, box, voxel) -> None:
    density, _ = embed(tmp_path, places(planted, box, voxel), info_of(planted))
    assert density.shape == SHAPE
    assert correlation(density, planted.clean) > 0.97
    turned = [replace(p, euler_zyz_deg=-p.euler_zyz_deg[:, ::-1]) for p in places(planted)]
    other, _ = embed(tmp_path, turned, info_of(planted))
    assert correlation(other, planted.clean) < 0.9  # the inverse rotation does not fit


@pytest.mark.parametrize("box", [20, 21])
def test_values_are_those_of_the_formula(tmp_path, box) -> None:
    """Against r = A q + p for every voxel q of the average; exact at this turn."""
    average, middle = np.zeros((box,) * 3), slice(box // 2 - 2, box // 2 + 3)
    average[middle, middle, middle] = np.random.default_rng(0).random((5, 5, 5))
    average = gaussian_filter(average, 0.7)
    euler = np.array([[90.0, 90.0, 180.0]])
    matrix = rotation_from_euler_zyz_deg(euler).as_matrix()[0]
    placed = PlacedAverage(1, average, 10.0, np.array([[14.0, 15.0, 17.0]]), euler)
    density, _ = embed(tmp_path, [placed], TomogramInfo("t", 10.0, (27, 31, 34)), threshold=0.5)
    highest = average.max()
    n_compared = 0
    for q in np.argwhere(average > 0.2 * highest):
        x, y, z = matrix @ (q - box // 2)[::-1]
        r = np.rint([14 + z, 15 + y, 17 + x]).astype(int)
        assert density[tuple(r)] == pytest.approx(2 * average[tuple(q)] / highest, abs=0.02)
        n_compared += 1
    assert n_compared > 50


def test_the_header_is_that_of_the_tomogram(tmp_path) -> None:
    with mrcfile.new(tmp_path / "tomogram.mrc", np.zeros((20, 30, 41), np.int16)) as mrc:
        mrc.voxel_size = 10.0
        mrc.header.origin = (-100.0, 20.0, 7.5)
        mrc.nstart = (1, -2, 3)
    info = TomogramInfo("t", 10.0, (20, 30, 41), FULL, tmp_path / "tomogram.mrc")
    density, labels = embed(tmp_path, [one_ball(300, [(10, 12, 14)])], info)
    assert density.dtype == np.float32 and labels.dtype == np.int16
    assert set(np.unique(labels)) == {0, 300}
    for name in ("density.mrc", "labels.mrc"):
        assert mrcfile.validate(tmp_path / name)
        with mrcfile.open(tmp_path / name) as mrc:
            assert mrc.is_volume()
            assert tuple(mrc.voxel_size.item()) == pytest.approx((10, 10, 10))
            assert mrc.header.origin.item() == pytest.approx((-100, 20, 7.5))
            assert mrc.nstart.item() == (1, -2, 3)
            assert float(mrc.header.dmean) == pytest.approx(mrc.data.mean(), rel=1e-4)
            assert float(mrc.header.dmax) == mrc.data.max()
            assert float(mrc.header.rms) == pytest.approx(mrc.data.std(), rel=1e-4)


def test_densities_of_overlapping_copies_do_not_add_up(tmp_path) -> None:
    info = TomogramInfo("t", 10.0, (40, 41, 42))
    single, _ = embed(tmp_path, [one_ball()], info)
    twice, _ = embed(tmp_path, [one_ball(zyx=[(20, 20, 20), (20, 20, 20)])], info)
    np.testing.assert_array_equal(single, twice)
    near, labels = embed(tmp_path, [one_ball(zyx=[(20, 20, 14), (20, 20, 26)])], info)
    assert near.max() == pytest.approx(single.max(), rel=1e-3)
    np.testing.assert_array_equal(labels > 0, near > 1)


def test_boxes_leave_no_steps(tmp_path) -> None:
    """A slope through the whole box and noise in its corners end softly."""
    ball = one_ball(box=32)
    slope = np.arange(32)[:, None, None] / 100
    rough = replace(ball, average=ball.average + 5 + slope + 9 * (soft_sphere(32, 15, 0) == 0))
    info = TomogramInfo("t", 10.0, (40, 41, 42))
    density, _ = embed(tmp_path, [rough], info)
    assert density.min() == 0 and density[0, 0, 0] == 0
    edge = np.abs(soft_sphere(41, 16.5, 0) - soft_sphere(41, 10, 0))[:40, :, :41] > 0
    steps = np.abs(np.diff(density[:, :, :41], axis=0))[edge[:-1]]
    assert steps.max() < 0.2


def test_smoothing_is_that_of_the_tomogram(tmp_path) -> None:
    info = TomogramInfo("t", 10.0, (40, 41, 42))
    placed = [one_ball()]
    sharp, _ = embed(tmp_path, placed, info, threshold=0.5)
    smooth, labels = embed(tmp_path, placed, info, threshold=0.5, smooth_angstrom=30)
    expected = gaussian_filter(sharp, 3.0, mode="constant")
    np.testing.assert_allclose(smooth, 2 * expected / expected.max(), atol=0.02)
    np.testing.assert_array_equal(labels > 0, smooth > 1)


# -- whose ------------------------------------------------------------------------------------


def test_labels_are_the_planted_classes(tmp_path, planted) -> None:
    density, labels = embed(tmp_path, places(planted), info_of(planted))
    np.testing.assert_array_equal(labels > 0, density > 1)
    inside = planted.clean > 0.6 * planted.clean.max()
    assert (labels[inside] > 0).mean() > 0.97
    assert (planted.clean[labels > 0] > 0.3 * planted.clean.max()).mean() > 0.97
    where = np.argwhere(labels > 0)
    away = np.linalg.norm(where[:, None] - planted.truth.center_zyx_px, axis=2)
    np.testing.assert_array_equal(
        labels[labels > 0], planted.truth.cluster[away.argmin(axis=1)] + 1
    )


def test_the_highest_density_wins_in_units_of_its_own_surface(tmp_path) -> None:
    """A faint average counts as much as a bright one, whatever the order."""
    info = TomogramInfo("t", 10.0, (40, 41, 42))
    bright, faint = one_ball(1, [(20, 20, 15)], height=50), one_ball(2, [(20, 20, 25)], height=0.1)
    for order in ([bright, faint], [faint, bright]):
        _, labels = embed(tmp_path, order, info, threshold=0.2, smooth_angstrom=30)
        # Both reach beyond the middle; each has what is nearer to it.
        assert set(labels[20, 20, 10:20]) == {1} and set(labels[20, 20, 21:31]) == {2}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_threshold_is_a_share_of_the_largest(tmp_path, share) -> None:
    placed = replace(one_ball(radius=2), average=gaussian_filter(one_ball(radius=2).average, 2))
    info = TomogramInfo("t", 10.0, (40, 41, 42))
    density, labels = embed(tmp_path, [placed], info, threshold=share)
    assert density.max() == pytest.approx(1 / share, rel=0.01)
    drawn = placed.average - placed.average[12, 12, 23]
    assert (labels > 0).sum() == pytest.approx((drawn > share * drawn.max()).sum(), abs=3)


# -- blocks, borders and memory ---------------------------------------------------------------


@pytest.mark.parametrize("sections", [1, 7, 33])
def test_blocks_give_what_one_block_gives(tmp_path, planted, sections) -> None:
    info, placed = info_of(planted), places(planted, 39, 12.7)
    whole = embed(tmp_path, placed, info, smooth_angstrom=20)
    block_bytes = sections * SHAPE[1] * SHAPE[2] * 6
    pieces = embed(tmp_path, placed, info, smooth_angstrom=20, block_bytes=block_bytes)
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.any()


def test_particles_at_the_faces_are_cut_off(tmp_path) -> None:
    small, large = TomogramInfo("t", 10.0, (20, 23, 26)), TomogramInfo("t", 10.0, (60, 63, 66))
    centres = np.array([(0, 0, 0), (-3.4, 10, 12), (19.6, 22, 25), (10, 11, 28), (10, -90, 10)])
    inner, _ = embed(tmp_path, [one_ball(zyx=centres)], small)
    outer, _ = embed(tmp_path, [one_ball(zyx=centres + 20)], large)
    np.testing.assert_allclose(inner, outer[20:40, 20:43, 20:46], atol=1e-5)
    assert inner.any()


def test_memory_is_that_of_a_block(tmp_path) -> None:
    info = TomogramInfo("t", 10.0, (260, 310, 320))
    centres = np.random.default_rng(0).uniform(0, 300, (60, 3))
    placed = [one_ball(zyx=centres)]
    tracemalloc.start()
    embed_tomogram(placed, info, tmp_path / "d.mrc", tmp_path / "l.mrc", block_bytes=2**22)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    whole = 4 * 260 * 310 * 320
    assert (tmp_path / "d.mrc").stat().st_size == 1024 + whole
    assert peak < 0.25 * whole


# -- files ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, planted: SimulatedTomogram) -> Path:
    """A store of the planted particles, and averages as the average command writes them."""
    write_volume(tmp_path / "simulated.mrc", planted.volume, VOXEL, tilt_range_deg=FULL)
    info = replace(info_of(planted), path=tmp_path / "simulated.mrc")
    truth = replace(planted.truth, tomograms={"simulated": info})
    write_store(tmp_path / "s.h5", truth)
    rows = []
    for k in (0, 1):
        cluster = tmp_path / "averages" / f"cluster_{k + 1:02d}"
        # In voxels twice as large as the tomogram's, as of a store that was cropped.
        average = load_phantoms()[NAMES[k]].density(24, 2 * VOXEL)
        write_volume(cluster / "average.mrc", average, 2 * VOXEL)
        write_volume(cluster / "mask.mrc", soft_sphere(24, 9, 3), 2 * VOXEL)
        write_particles_star(cluster / "particles.star", truth.select(truth.cluster == k))
        rows.append({"cluster": k + 1, "members": 4})
    write_rows_csv(tmp_path / "averages" / "averages.csv", rows)
    write_rows_csv(tmp_path / "truth.csv", [{"cluster": int(k)} for k in truth.cluster])
    return tmp_path


def write_store(path: Path, particles: ParticleSet) -> None:
    tomograms = particles.tomograms
    with StoreWriter.create(path, (6, 6, 6), 2 * VOXEL, FULL, tomograms, overwrite=True) as writer:
        volumes = np.random.default_rng(0).normal(size=(len(particles), 6, 6, 6))
        writer.append(volumes.astype(np.float32), replace(particles, cluster=None))


def run(folder: Path, *options: str) -> int:
    paths = [str(folder / "s.h5"), "--averages", str(folder / "averages")]
    return main(["embed", *paths, "--out", str(folder / "out"), *options])


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_command_writes_maps_and_a_script(folder: Path, planted: SimulatedTomogram) -> None:
    assert run(folder) == 0
    maps = {"simulated_density.mrc", "simulated_labels.mrc", "simulated.cxc", "legend.csv"}
    assert files(folder / "out") == maps
    assert read_rows_csv(folder / "out" / "legend.csv")[1] == {
        "cluster": "2", "name": "", "colour": cluster_colour(1), "particles": "4"
    }  # fmt: skip
    density = mrcfile.read(folder / "out" / "simulated_density.mrc")
    assert correlation(density, planted.clean) > 0.9
    assert set(np.unique(mrcfile.read(folder / "out" / "simulated_labels.mrc"))) == {0, 1, 2}
    before = (folder / "out" / "simulated_density.mrc").read_bytes()
    assert run(folder) == 2  # what is there is kept
    assert (folder / "out" / "simulated_density.mrc").read_bytes() == before
    more = {"simulated_cluster_01.mrc", "simulated_cluster_02.mrc"}
    assert run(folder, "--overwrite", "--per-cluster", "--smooth-angstrom", "20") == 0
    assert files(folder / "out") == maps | more
    parts = [mrcfile.read(folder / "out" / name) for name in sorted(more)]
    whole = mrcfile.read(folder / "out" / "simulated_density.mrc")
    np.testing.assert_array_equal(np.maximum(*parts), whole)


def decide(folder: Path, *decisions: Decision) -> None:
    """Labels of the eight planted particles beside the averages, and decisions about them."""
    if not (folder / "labels.csv").exists():
        order = read_rows_csv(folder / "truth.csv")
        write_labels_csv(folder / "labels.csv", np.array([int(row["cluster"]) for row in order]))
    Curation(folder).add(decisions)
    mark_averages(folder / "averages")


def test_names_stand_in_legend_script_and_files(folder: Path) -> None:
    decide(folder, Decision("name", (2,), name="two lobes"))
    assert run(folder, "--per-cluster") == 0
    out = folder / "out"
    assert [row["name"] for row in read_rows_csv(out / "legend.csv")] == ["", "two lobes"]
    assert (out / "simulated_cluster_02_two-lobes.mrc").is_file()
    script = (out / "simulated.cxc").read_text()
    assert 'name "2 two lobes"' in script
    assert f'2dlabels text "2 two lobes" color {cluster_colour(1)} ' in script
    table = folder / "averages" / "averages.csv"
    assert [row["name"] for row in read_rows_csv(table)] == ["", "two lobes"]


def test_averages_of_what_was_merged_since_are_not_drawn(folder: Path, capsys) -> None:
    decide(folder, Decision("merge", (1, 2)))
    assert run(folder) == 2
    said = capsys.readouterr().err
    assert "decision 1 merged 2 into it" in said and "aitom-disca average" in said
    outdated = [row["outdated"] for row in read_rows_csv(folder / "averages" / "averages.csv")]
    assert outdated == ["decision 1 merged 2 into it", "decision 1 merged it into 1"]
    assert not (folder / "out").exists()
    rows, notes = shown_averages(folder / "averages", "s.h5")
    assert not rows and len(notes) == 1 and "cluster 1 (decision 1 merged 2 into it)" in notes[0]
    where = f"--labels {folder}/labels.csv --out {folder}/averages"
    assert notes[0].endswith(f": aitom-disca average s.h5 {where} --cluster 1 --overwrite")
    decide(folder, Decision("undo"), Decision("drop", (1,)))
    assert run(folder) == 0
    assert "cluster 1 is not drawn: decision 3 left it out" in capsys.readouterr().out
    assert set(np.unique(mrcfile.read(folder / "out" / "simulated_labels.mrc"))) == {0, 2}
    assert run(folder, "--cluster", "1", "--overwrite") == 2
    assert "there is no cluster 1 any more" in capsys.readouterr().err


def test_one_cluster_alone(folder: Path) -> None:
    embedded = embed_averages(folder / "s.h5", folder / "averages", folder / "out", clusters=[2])
    assert [(one.name, one.n_particles) for one in embedded] == [("simulated", 4)]
    assert set(np.unique(mrcfile.read(embedded[0].labels))) == {0, 2}
    assert 'open "simulated_density.mrc" name "cluster 2"' in embedded[0].script.read_text()


@pytest.mark.parametrize("per_cluster", [False, True])
def test_the_script_opens_files_that_exist_in_colours_of_the_report(folder, per_cluster) -> None:
    arguments = (folder / "s.h5", folder / "averages", folder / "out")
    script = embed_averages(*arguments, per_cluster=per_cluster)[0].script
    lines = script.read_text().splitlines()
    opened = [line.split('"')[1] for line in lines if line.startswith("open ")]
    assert opened[0] == "../simulated.mrc" and len(opened) == (3 if per_cluster else 2)
    assert all((script.parent / name).is_file() for name in opened)
    used = {int(m) for line in lines if line[0] != "#" for m in re.findall(r"#(\d+) ", line)}
    assert used == set(range(1, len(opened) + 1))
    words = {"set", "open", "volume", "segmentation", "lighting", "view"}
    assert {line.split()[0] for line in lines if not line.startswith("#")} <= words
    for k in (0, 1):
        assert sum(f"color {cluster_colour(k)}" in line for line in lines) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_tomogram_that_is_gone_or_packed_is_not_opened(folder, planted, packed) -> None:
    gone = (folder / "simulated.mrc").rename(folder / "simulated.mrc.gz")
    if packed:
        info = replace(info_of(planted), path=gone)
        write_store(folder / "s.h5", replace(planted.truth, tomograms={"simulated": info}))
    one = embed_averages(folder / "s.h5", folder / "averages", folder / "out")[0]
    opened = [line for line in one.script.read_text().splitlines() if line.startswith("open ")]
    assert opened == ['open "simulated_labels.mrc" name "labels"']


# -- input that cannot be used ----------------------------------------------------------------


def drop_angles(folder: Path) -> None:
    star = folder / "averages" / "cluster_01" / "particles.star"
    text = star.read_text()
    star.write_text(re.sub(r"rlnAngle(Rot|Tilt|Psi)", r"rlnOther\1", text))


def forget_size(folder: Path, planted: SimulatedTomogram) -> None:
    info = replace(info_of(planted), shape_zyx=None)
    write_store(folder / "s.h5", replace(planted.truth, tomograms={"simulated": info}))


def write_average(folder: Path, shape: tuple[int, int, int], name: str = "average") -> None:
    path = folder / "averages" / "cluster_02" / f"{name}.mrc"
    write_volume(path, np.random.default_rng(0).random(shape), VOXEL)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda f, p: (f / "averages" / "averages.csv").unlink(), "holds no averages.csv"),
        (lambda f, p: drop_angles(f), "poses missing"),
        (forget_size, "does not know the size of tomogram simulated"),
        (lambda f, p: write_average(f, (20, 22, 24)), "cluster 2 has the shape .*expected a cube"),
        (lambda f, p: write_average(f, (20, 20, 20), "mask"), "must be of one size"),
        (
            lambda f, p: (f / "averages" / "cluster_02" / "particles.star").unlink(),
            "holds no particles.star",
        ),
        (
            lambda f, p: (f / "averages" / "cluster_01" / "average.mrc").unlink(),
            "average.mrc does not exist",
        ),
    ],
)
def test_what_cannot_be_placed_is_said(folder, planted, capsys, damage, match) -> None:
    damage(folder, planted)
    assert run(folder) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and re.search(match, lines[0]), lines
    assert not list((folder / "out").glob("*") if (folder / "out").exists() else [])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--cluster", "7"], "there is no average of cluster 7; .* holds 1, 2"),
        (["--threshold", "1.5"], "between 0 and 1.*got 1.5"),
        (["--smooth-angstrom", "-3"], "0 Angstrom or more; got -3"),
    ],
)
def test_wrong_options_are_said(folder, capsys, options, match) -> None:
    assert run(folder, *options) == 2
    assert re.search(match, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("average", "match"),
    [
        (np.zeros((10, 10, 10)), "nothing stands out in the average of cluster 1"),
        (np.full((10, 10, 10), np.nan), "not finite numbers"),
        (np.zeros((10, 10)), "expected a cube"),
    ],
)
def test_averages_that_make_no_sense(tmp_path, average, match) -> None:
    placed = replace(one_ball(), average=average)
    with pytest.raises(InputError, match=match):
        embed(tmp_path, [placed], TomogramInfo("t", 10.0, (20, 21, 22)))
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="the size of tomogram t is not known"):
        embed(tmp_path, [one_ball()], TomogramInfo("t", 10.0))


def test_what_an_earlier_embedding_left_goes_and_nothing_else(folder: Path) -> None:
    assert run(folder, "--per-cluster") == 0
    own = {"notes.txt", "simulated_cluster_01_edited.mrc", "other_density.mrc"}
    for name in own:
        (folder / "out" / name).write_text("a person's")
    decide(folder, Decision("name", (2,), name="two lobes"))
    assert run(folder, "--per-cluster", "--overwrite") == 0
    maps = {"simulated_density.mrc", "simulated_labels.mrc", "simulated.cxc", "legend.csv"}
    named = {"simulated_cluster_01.mrc", "simulated_cluster_02_two-lobes.mrc"}
    assert files(folder / "out") == maps | named | own
    assert run(folder, "--overwrite") == 0
    assert files(folder / "out") == maps | own


def test_maps_without_a_script_are_of_no_earlier_embedding(tmp_path: Path) -> None:
    left = {tmp_path / f"a{end}" for end in ("_density.mrc", "_labels.mrc", ".cxc")}
    for path in (*left, tmp_path / "b_density.mrc"):
        path.write_text('open "a.mrc" name "tomogram"')
    assert {*files_of_earlier([tmp_path / "a", tmp_path / "b"])} == left
