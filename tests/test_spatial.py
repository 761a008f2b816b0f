"""Neighbours that were planted are found, random ones are not, and tomograms never mix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from aitom_disca.analysis import nearest
from aitom_disca.analysis.abundance import count_clusters
from aitom_disca.analysis.neighbour_pairs import compare_neighbours
from aitom_disca.errors import InputError
from aitom_disca.particles import ParticleSet, TomogramInfo

VOXEL_SIZES = {"a": 10.0, "b": 13.5, "c": 8.0}
SHAPE = (60, 200, 180)


def particles(places_px, names, labels=None) -> ParticleSet:
    info = {name: TomogramInfo(name, size, SHAPE) for name, size in VOXEL_SIZES.items()}
    return ParticleSet(np.asarray(names), places_px, cluster=labels, tomograms=info)


def scattered(n, rng, k=3) -> ParticleSet:
    names = rng.choice(["a", "b", "c"], n)
    return particles(rng.uniform(0, SHAPE, (n, 3)), names, rng.integers(0, k, n))


def plain_distances(given: ParticleSet, a: int, b: int) -> list[float]:
    """Distances to the nearest of cluster b, by all pairs of every tomogram."""
    found = []
    for name in np.unique(given.tomogram_name):
        inside = given.tomogram_name == name
        places = given.center_zyx_px[inside] * given.tomograms[str(name)].voxel_size_angstrom
        labels = given.cluster[inside]
        between = cdist(places, places)
        np.fill_diagonal(between, np.inf)
        if (labels == b).any():
            found += between[labels == a][:, labels == b].min(axis=1).tolist()
    return [d for d in found if np.isfinite(d)]


def of(pairs, a, b):
    return next(p for p in pairs if (p.cluster, p.neighbour) == (a, b))


# -- distances ---------------------------------------------------------------------------------


@pytest.mark.parametrize("near", [1, 3, 24])
def test_distances_are_those_of_brute_force(near, rng, monkeypatch):
    monkeypatch.setattr(nearest, "_NEAR", near)
    given = scattered(150, rng, k=4)
    given.cluster[:3] = 7  # rare: found by a search of its own
    given.cluster[3:9] = -1  # takes no part
    pairs = compare_neighbours(given, n_permutations=1)
    assert [(p.cluster, p.neighbour) for p in pairs] == [
        (a, b) for a in (0, 1, 2, 3, 7) for b in (0, 1, 2, 3, 7)
    ]
    for pair in pairs:
        plain = plain_distances(given, pair.cluster, pair.neighbour)
        assert pair.members == len(plain)
        if plain:
            assert pair.median_angstrom == pytest.approx(np.median(plain), rel=1e-12)
            assert pair.share.sum() == pytest.approx(1)
            inner = np.histogram(plain, pair.edges_angstrom)[0][:-1] / len(plain)
            np.testing.assert_allclose(pair.share[:-1], inner)


@pytest.mark.parametrize("near", [2, 24])
def test_particles_at_one_place_are_at_distance_0(near, monkeypatch):
    monkeypatch.setattr(nearest, "_NEAR", near)
    places = np.array([[5, 5, 5]] * 4 + [[5, 5, 15]], float)
    given = particles(places, ["a"] * 5, np.array([0, 0, 1, 1, 1]))
    pairs = compare_neighbours(given, n_permutations=3)
    assert of(pairs, 0, 0).median_angstrom == 0 and of(pairs, 0, 1).median_angstrom == 0
    assert of(pairs, 1, 1).members == 3


def test_tomograms_never_mix(rng):
    """The same voxels in another tomogram are no neighbours, though their distance would be 0."""
    places = rng.uniform(0, SHAPE, (40, 3))
    alone = particles(places, ["a"] * 40, rng.integers(0, 2, 40))
    twice = particles(np.tile(places, (2, 1)), ["a"] * 40 + ["b"] * 40, np.tile(alone.cluster, 2))
    scale = VOXEL_SIZES["b"] / VOXEL_SIZES["a"]
    first, both = (compare_neighbours(p, n_permutations=2) for p in (alone, twice))
    for one, two in zip(first, both, strict=True):
        assert two.members == 2 * one.members
        assert two.median_angstrom >= one.median_angstrom > 0
        assert two.median_angstrom <= scale * one.median_angstrom * (1 + 1e-9)


def test_places_from_the_centre_in_angstrom_do_as_well(rng):
    given = scattered(60, rng)
    sizes = np.array([VOXEL_SIZES[str(name)] for name in given.tomogram_name])
    centered = (given.center_zyx_px * sizes[:, None])[:, ::-1] - 700.0
    other = ParticleSet(
        given.tomogram_name, np.full((60, 3), np.nan), cluster=given.cluster,
        centered_xyz_angstrom=centered,
    )  # fmt: skip
    for one, two in zip(
        compare_neighbours(given, n_permutations=5),
        compare_neighbours(other, n_permutations=5),
        strict=True,
    ):
        assert two.median_angstrom == pytest.approx(one.median_angstrom)
        assert two.p == one.p


# -- against chance ----------------------------------------------------------------------------


def test_members_planted_beside_each_other_are_found(rng):
    given = scattered(360, rng)
    rows = np.flatnonzero(given.cluster == 1)
    given.tomogram_name[rows] = "a"
    hubs = rng.uniform(0, SHAPE, (len(rows) // 6, 3))
    given.center_zyx_px[rows] = hubs[np.arange(len(rows)) % len(hubs)]
    given.center_zyx_px[rows] += rng.normal(size=(len(rows), 3)) * 3
    found = of(compare_neighbours(given), 1, 1)
    assert found.p_guarded < 0.01 and found.effect > 0.3
    assert found.median_angstrom < 0.7 * found.null_median_angstrom
    assert "nearer to each other than by chance" in found.sentence
    assert (found.share > found.null_high).any()


def test_a_cluster_that_goes_with_another_is_found(rng):
    given = scattered(300, rng, k=3)
    hosts, guests = (np.flatnonzero(given.cluster == k) for k in (0, 2))
    guests = guests[: len(hosts)]
    given.tomogram_name[guests] = given.tomogram_name[hosts[: len(guests)]]
    given.center_zyx_px[guests] = given.center_zyx_px[hosts[: len(guests)]] + [0, 8, 0]
    pairs = compare_neighbours(given)
    for a, b in ((0, 2), (2, 0)):
        assert of(pairs, a, b).p_guarded < 0.01 and of(pairs, a, b).effect > 0.2
        assert "nearer to members of" in of(pairs, a, b).sentence


def test_random_labels_are_not_found(rng):
    """Of 40 sets with nine pairs each about 2 hold one pair below 0.05, though places crowd."""
    lowest, single = [], []
    for i in range(40):
        given = scattered(120, rng)
        given.center_zyx_px[:] *= rng.uniform(0, 1, (120, 1)) ** 2  # crowded, whatever the label
        pairs = compare_neighbours(given, n_permutations=39, seed=i)
        lowest.append(min(p.p_guarded for p in pairs))
        single += [p.p for p in pairs]
    assert np.sum(np.array(lowest) <= 0.05) <= 7
    assert abs(np.mean(single) - 0.5) < 0.1
    assert min(lowest) >= 1 / 40


def test_guarded_is_never_below_the_significance_of_one_pair(rng):
    pairs = compare_neighbours(scattered(90, rng), n_permutations=49)
    assert all(p.p_guarded >= p.p >= 1 / 50 for p in pairs)


def test_one_seed_gives_one_answer(rng):
    given = scattered(80, rng)
    first, second = (compare_neighbours(given, n_permutations=9, seed=4) for _ in range(2))
    assert [p.row() for p in first] == [p.row() for p in second]


def test_names_of_clusters_do_not_matter(rng):
    given = scattered(80, rng)
    renamed = compare_neighbours(given, np.array([5, 2, 9])[given.cluster], n_permutations=1)
    for pair in compare_neighbours(given, n_permutations=1):
        other = of(renamed, *np.array([5, 2, 9])[[pair.cluster, pair.neighbour]])
        assert other.median_angstrom == pair.median_angstrom


# -- little, or nothing ------------------------------------------------------------------------


def test_single_members_and_empty_pairs_do_no_harm(rng):
    given = particles(rng.uniform(0, SHAPE, (6, 3)), list("aaabbc"), np.array([0, 0, 1, 2, 2, 3]))
    pairs = compare_neighbours(given, n_permutations=5)
    assert len(pairs) == 16
    empty = [(1, 1), (3, 3), (0, 2), (3, 0)]
    for a, b in empty:
        pair = of(pairs, a, b)
        assert pair.members == 0 and pair.p == pair.p_guarded == 1
        assert np.isnan(pair.median_angstrom) and pair.row()["effect"] == ""
        assert pair.sentence.startswith("No tomogram holds")
    assert of(pairs, 2, 2).p == 1  # a tomogram of one cluster: labels cannot be permuted
    assert of(pairs, 0, 1).members == 2


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_particles(n, rng):
    given = particles(rng.uniform(0, SHAPE, (n, 3)), ["a"] * n, np.zeros(n, int))
    assert len(compare_neighbours(given, n_permutations=2)) == min(n, 1)
    assert compare_neighbours(given, np.full(n, -1)) == []
    assert len(count_clusters(given)) == min(n, 1)


# -- counts ------------------------------------------------------------------------------------


def test_counts_and_densities(rng):
    given = scattered(100, rng)
    given.cluster[:10] = -1
    found = count_clusters(given)
    assert len(found) == 9
    assert sum(f.count for f in found) == 90
    for f in found:
        inside = (given.tomogram_name == f.tomogram) & (given.cluster == f.cluster)
        assert f.count == inside.sum()
        edges_um = np.array(SHAPE) * VOXEL_SIZES[f.tomogram] * 1e-4
        assert f.per_um3 == pytest.approx(f.count / edges_um.prod())
        assert f.row()["cluster"] == f.cluster + 1


def test_the_density_of_a_tomogram_of_unknown_size_is_unknown():
    given = ParticleSet(np.array(["x"]), np.zeros((1, 3)), cluster=np.array([0]))
    (found,) = count_clusters(given)
    assert found.count == 1 and np.isnan(found.per_um3) and found.row()["per_um3"] == ""


# -- errors ------------------------------------------------------------------------------------


def test_what_is_missing_is_named(rng):
    given = particles(rng.uniform(0, SHAPE, (4, 3)), ["a"] * 4)
    with pytest.raises(InputError, match="no clusters"):
        compare_neighbours(given)
    with pytest.raises(InputError, match="4 particles but 3 labels"):
        count_clusters(given, np.zeros(3, int))
    with pytest.raises(InputError, match="n_permutations must be 1 or more, but is 0"):
        compare_neighbours(given, np.zeros(4, int), n_permutations=0)
    nowhere = particles(np.full((4, 3), np.nan), ["a"] * 4)
    with pytest.raises(InputError, match="position of every particle"):
        compare_neighbours(nowhere, np.zeros(4, int))
    unknown = particles(np.zeros((4, 3)), ["z"] * 4)
    with pytest.raises(InputError, match="voxel size of tomogram 'z'"):
        compare_neighbours(unknown, np.zeros(4, int))
