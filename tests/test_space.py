"""Tables and pictures of space say what the particles say, and are written whole."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from aitom_disca.errors import InputError
from aitom_disca.geometry import euler_zyz_deg_from_rotation, random_rotations
from aitom_disca.particles import UNASSIGNED, ParticleSet, TomogramInfo
from aitom_disca.pipeline import spatial_tables
from aitom_disca.pipeline.spatial_tables import (
    count_rows,
    neighbour_rows,
    orientation_rows,
    space_pictures,
    write_space,
)
from aitom_disca.report import figure_style

SHAPE = (60, 200, 200)
FEW = {"n_permutations": 19}


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_style, "DPI", 50)  # for speed


def given(n, k, rng, *, tomograms=("a", "b"), angles=True) -> ParticleSet:
    info = {name: TomogramInfo(name, 10.0, SHAPE) for name in tomograms}
    return ParticleSet(
        np.array(tomograms)[np.arange(n) % len(tomograms)],
        rng.uniform(0, SHAPE, (n, 3)),
        euler_zyz_deg=euler_zyz_deg_from_rotation(random_rotations(n, rng)) if angles else None,
        cluster=np.arange(n) // 2 % k,
        tomograms=info,
    )


def read(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_planted_preference_is_told_and_only_of_its_cluster(rng):
    particles = given(120, 2, rng)
    particles.euler_zyz_deg[particles.cluster == 1, 1] *= 0.2  # tilts near 0: seen from the top
    first, second = orientation_rows(particles)
    assert (first["cluster"], first["members"], first["preference"]) == (1, 60, "none")
    assert first["finding"].startswith("No preferred orientation")
    assert second["preference"] == "one-sided" and float(second["p_adjusted"]) < 1e-6
    assert float(second["rayleigh"]) > 20 > float(first["rayleigh"])
    assert "more" in second["finding"] or "mostly" in second["finding"]


def test_angles_that_are_no_numbers_and_no_cluster_take_no_part(rng):
    particles = given(60, 3, rng)
    particles.euler_zyz_deg[:5] = np.nan
    particles.cluster[50:] = UNASSIGNED
    rows = orientation_rows(particles)
    assert sum(row["members"] for row in rows) == 45
    particles.euler_zyz_deg[particles.cluster == 1] = np.nan
    assert [row["cluster"] for row in orientation_rows(particles)] == [1, 3]


def test_planted_neighbours_are_told(rng):
    particles = given(80, 2, rng)
    near = particles.center_zyx_px[particles.cluster == 0] + rng.normal(size=(40, 3))
    particles.center_zyx_px[particles.cluster == 1] = near
    rows = {(r["cluster"], r["neighbour"]): r for r in neighbour_rows(particles, **FEW)}
    assert len(rows) == 4
    assert float(rows[1, 2]["effect"]) > 0.3 > float(rows[1, 1]["effect"])
    assert "median" in rows[1, 2]["finding"]


def test_counts_are_by_tomogram_and_density_by_volume(rng):
    rows = count_rows(given(40, 2, rng, tomograms=("a", "b", "c")))
    assert len(rows) == 6 and sum(row["count"] for row in rows) == 40
    volume_um3 = np.prod(SHAPE) * 10.0**3 * 1e-12
    for row in rows:
        assert float(row["per_um3"]) == pytest.approx(row["count"] / volume_um3, rel=1e-3)


def test_everything_is_written_and_what_was_before_goes(rng, tmp_path):
    particles = given(60, 3, rng)
    first = write_space(particles, tmp_path / "space", **FEW)
    assert sorted(first) == sorted((tmp_path / "space").iterdir())
    names = {path.name for path in first}
    assert {"orientations.csv", "neighbours.csv", "counts.csv"} < names
    assert {"orientations_03.png", "neighbours_01_03.png"} < names
    assert [r["cluster"] for r in read(tmp_path / "space" / "orientations.csv")] == ["1", "2", "3"]
    assert len(read(tmp_path / "space" / "neighbours.csv")) == 9

    other = tmp_path / "space" / "neighbours_notes.txt"
    other.write_text("kept")
    again = write_space(given(60, 2, rng, angles=False), tmp_path / "space", **FEW)
    assert sorted([*again, other]) == sorted((tmp_path / "space").iterdir())
    assert not [path for path in again if path.name.startswith("orientations")]
    assert {path.read_bytes()[:4] for path in again if path.suffix == ".png"} == {b"\x89PNG"}


@pytest.mark.parametrize("tomograms", [("a",), ("a", "b", "c")])
@pytest.mark.parametrize(("n", "k"), [(20, 1), (1, 1), (2, 2)])
def test_one_cluster_and_one_particle_are_enough(n, k, tomograms, rng, tmp_path):
    written = write_space(given(n, k, rng, tomograms=tomograms), tmp_path, **FEW)
    names = [path.name for path in written]
    assert names[:3] == ["orientations.csv", "neighbours.csv", "counts.csv"]
    rows = read(tmp_path / "orientations.csv")
    assert sum(int(row["members"]) for row in rows) == n
    for row in rows + read(tmp_path / "neighbours.csv"):
        assert row["finding"] and "nan" not in " ".join(row.values()).lower().split()


def test_pictures_are_no_more_than_twelve_of_distances(rng, monkeypatch):
    monkeypatch.setattr(spatial_tables, "_MOST_PICTURES", 4)
    names = list(space_pictures(given(48, 3, rng), **FEW))
    distances = [name for name in names if name.startswith("neighbours")]
    assert len(distances) == 4
    assert {f"neighbours_{i:02}_{i:02}.png" for i in (1, 2, 3)} < set(distances)


def test_the_same_seed_gives_the_same(rng):
    particles = given(30, 2, rng)
    assert neighbour_rows(particles, seed=3, **FEW) == neighbour_rows(particles, seed=3, **FEW)


def test_nothing_is_written_where_something_is_missing(rng, tmp_path):
    particles = given(10, 2, rng)
    particles.center_zyx_px[3] = np.nan
    with pytest.raises(InputError, match="position"):
        write_space(particles, tmp_path / "space", **FEW)
    without = ParticleSet(particles.tomogram_name, particles.center_zyx_px)
    with pytest.raises(InputError, match="no clusters"):
        write_space(without, tmp_path / "space", **FEW)
    assert not (tmp_path / "space").exists()
