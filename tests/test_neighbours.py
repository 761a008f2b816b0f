"""Sorting where other molecules lie in the box: masks, and averages without a subtomogram's own."""

from __future__ import annotations

import numpy as np
import pytest
from few_rotations import sorting_quickly
from sklearn.metrics import adjusted_rand_score

from aitom_disca.alignment import Averager, Coefficients, Particles, Slicer
from aitom_disca.alignment.expectation import expect
from aitom_disca.alignment.search_grids import cross, rotation_grid
from aitom_disca.classification import AlignmentSorter
from aitom_disca.classification.assign_others import Assigner
from aitom_disca.classification.classes import Classes, equal_detail
from aitom_disca.classification.detail_levels import Look
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.rotations import random_rotations
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.mining.feature_extraction import mask_radius_px
from aitom_disca.mining.sort_store import looked_at_px
from aitom_disca.simulation import load_phantoms, simulate_subtomograms
from aitom_disca.subtomograms.dataset import ArraySource, PreparedVolumes
from aitom_disca.subtomograms.mask_diameter import mask_diameter_angstrom
from aitom_disca.subtomograms.preprocess import crop, in_spheres, normalise

TILT = (-60.0, 60.0)
BOX, VOXEL, RADIUS = 18, 17.0, 5.0
NAMES = ("two_lobes", "ring")


@pytest.fixture(scope="module")
def crowded() -> tuple[np.ndarray, np.ndarray]:
    """Two structures, each with four neighbours of other kinds at the corners of its box."""
    phantoms = load_phantoms()
    made = simulate_subtomograms(
        [phantoms[name] for name in NAMES], 30, BOX, VOXEL, np.inf, TILT, 0.5, seed=7
    )
    rng = np.random.default_rng(1)
    volumes = made.volumes / made.volumes.std()
    others = list(phantoms.values())
    corners = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]) * 7.0
    for volume in volumes:
        turned = random_rotations(4, rng)
        for turn, corner in zip(turned, corners, strict=True):
            other = others[rng.integers(len(others))]
            drawn = other.density(BOX, VOXEL, turn, corner + rng.normal(size=3))
            volume += 12 * drawn * rng.uniform(0.7, 1.3)
    return volumes + rng.normal(size=volumes.shape), made.labels


@sorting_quickly()
def test_a_sorter_and_what_it_learnt_see_through_the_mask(crowded) -> None:
    volumes, labels = crowded
    scores = []
    for radius_px in (np.inf, RADIUS):
        sorter = AlignmentSorter(volumes, TILT, mask_radius_px=radius_px)
        found = sorter.sort(np.arange(4), most=4, splits=0)
        scores.append(adjusted_rand_score(labels, found))
    assert scores[1] > 0.8 > scores[0] + 0.5
    learnt = sorter.learnt()
    assert learnt.mask_radius_px == RADIUS
    assigned, _ = Assigner(learnt).assign(volumes)
    assert adjusted_rand_score(labels, assigned) > 0.8


def test_spheres_lie_round_the_particles(rng: np.random.Generator) -> None:
    offsets = np.array([(0.0, 0, 0), (2.0, -1.0, 3.0)])
    mask = soft_sphere(13, 3.0, 1.0, "gaussian", offsets)
    grid = np.indices((13,) * 3) - 6
    for one, offset in zip(mask, offsets, strict=True):
        distance = np.sqrt(((grid - offset[:, None, None, None]) ** 2).sum(axis=0))
        np.testing.assert_array_equal(one[distance <= 3], 1)
        np.testing.assert_allclose(one, np.exp(-(np.maximum(distance - 3, 0) ** 2) / 2), atol=1e-6)
    volumes = rng.normal(size=(2, 13, 13, 13)) + 5
    inside = in_spheres(volumes, 3.0, offsets)
    for one, volume, m in zip(inside, volumes, mask, strict=True):
        level = np.average(volume, weights=1 - m)
        np.testing.assert_allclose(one, (volume - level) * m, atol=1e-4)
    assert in_spheres(volumes, np.inf).shape == volumes.shape


def test_coefficients_count_by_what_the_mask_leaves(rng: np.random.Generator) -> None:
    """Log likelihoods of a planted signal are those of the same signal without the mask."""
    search = Search(16, 5.0, TILT, 60, np.zeros((1, 3)), 1)
    template = load_phantoms()["ring"].density(16, 25.0)
    template *= soft_sphere(16, 4.0, 1.0, "gaussian")
    volumes = (0.4 * template + rng.normal(size=(400, 16, 16, 16))).astype(np.float32)
    gains = []
    for radius in (np.inf, 5.0):
        look = Look.at(search, volumes, radius)
        seen = look.particles(search, volumes, np.zeros(400, int))
        first, second = (seen.values[half::2].mean(axis=0) for half in (0, 1))
        gains.append(float((first * second.conj()).real.sum() / 2))
    assert look.share == pytest.approx(0.25, abs=0.1)
    assert gains[1] == pytest.approx(gains[0], rel=0.25)


def test_parts_are_averaged_without_each(rng: np.random.Generator) -> None:
    coefficients = Coefficients(12, 4, TILT)
    slicer = Slicer(coefficients, rotation_grid(30))
    averager = Averager(slicer, 5)
    shape = (4, 30, len(coefficients))
    values = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64) + 2
    parts = [averager.inserted(one, np.ones(30)) for one in values]
    made = averager.without_each(parts)
    whole, others = made.whole, made.others
    plain = averager.average(
        np.stack([values[0] + values[2], values[1] + values[3]]), np.full((2, 30), 2.0)
    )
    np.testing.assert_allclose(whole, plain.volume, atol=1e-5)
    for left_out, other in enumerate(others):
        rest = sum(values[p] for p in range(4) if p != left_out)
        alone = averager.unfiltered(slicer.insert(rest, np.full(30, 3.0)))
        share = np.corrcoef(other.ravel(), alone.ravel())[0, 1]
        assert share > max(np.corrcoef(other.ravel(), whole.ravel())[0, 1], 0.9)
    both = slicer.several([whole, others[0]])
    np.testing.assert_allclose(both[1], slicer(others[0]), atol=1e-5)


def test_a_sharp_average_does_not_draw_in_the_members_of_a_rough_one(
    rng: np.random.Generator,
) -> None:
    """Of two structures that share 0.8, the other one is known well and the right one roughly."""
    coefficients = Coefficients(16, 7, TILT)

    def structure() -> np.ndarray:
        shape = (1, len(coefficients))
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)

    right, other = 0.3 * structure(), 0.3 * structure()
    other = 0.8 * right + 0.6 * other
    share = 0.3  # of the rough average's power that is signal; the rest is noise of its members
    error = 0.3 * np.sqrt(1 / share - 1) * structure()
    references = np.stack([other, share * (right + error)])
    noise = np.concatenate([structure() for _ in range(200)])
    particles = Particles(coefficients, right + noise, np.zeros((200, 3)), np.arange(200) % 2)
    n_shells = coefficients.shell.max() + 1
    signal = np.stack([np.ones(n_shells), np.full(n_shells, share)])
    weight = equal_detail(signal, n_shells + 2)
    assert weight[1].min() == 1 and weight[0, 1:-2].max() == pytest.approx(share)
    plain, equal = (
        expect(particles, references, np.zeros(2), np.zeros((1, 3)), shell_weight=w).posterior
        for w in (None, weight)
    )
    assert (plain[:, 1] > 0.5).mean() < 0.2
    assert (equal[:, 1] > 0.5).mean() > 0.8


def test_sums_need_not_be_by_half(rng: np.random.Generator) -> None:
    coefficients = Coefficients(10, 3, TILT)
    shape = (6, len(coefficients))
    values = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    particles = Particles(coefficients, values, np.zeros((6, 3)), np.arange(6) % 2)
    references = 0.3 * values[None, :4]
    halves, whole = (
        expect(particles, references, np.zeros(1), np.zeros((1, 3)), by_half=by)
        for by in (True, False)
    )
    assert whole.sums.shape[0] == 1
    np.testing.assert_allclose(whole.sums[0], halves.sums.sum(axis=0), atol=1e-4)


def test_noise_does_not_fit_itself(rng: np.random.Generator) -> None:
    """A subtomogram meets averages that it is no part of, or noise would look like signal."""
    search = Search(14, 4.0, TILT, 100, cross(1.0), 6)
    shape = (24, len(search.coefficients))
    values = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    values[5] *= 30
    noise = Particles(search.coefficients, values, np.zeros((24, 3)), np.arange(24) % 2)
    first = search.coefficients.volumes(values[[5]])
    classes = search.iterate(noise, Classes.start(list(first), noise.offset_zyx_px), rounds=3)
    by_itself = search.weigh(noise.moved(classes.offset_zyx_px), classes).log_likelihood
    assert classes.log_likelihood[5] < 5 < by_itself[5]


def test_balanced_clusters_are_about_equal(rng: np.random.Generator) -> None:
    phantoms = load_phantoms()
    made = simulate_subtomograms([phantoms["ring"]], 40, BOX, VOXEL, 0.01, TILT, 0.5, seed=3)
    search = Search(BOX, 4.0, TILT, 200, cross(1.0), 4)
    look = Look.at(search, made.volumes, np.inf)
    seen = look.particles(search, made.volumes, np.arange(40) % 2)
    truth = phantoms["ring"].density(BOX, VOXEL)
    good, poor = truth / truth.std(), 0.3 * rng.normal(size=truth.shape)
    start = Classes.start([good, poor], seen.offset_zyx_px)
    sizes = [
        search.iterate(seen, start, rounds=8, prior=prior).posterior.sum(axis=0)
        for prior in ("learnt", "balanced")
    ]
    assert len(sizes[0]) == 1 or sizes[0].min() < 8
    assert len(sizes[1]) == 2 and sizes[1].min() > 10


class _Store:
    box_shape_zyx = (20, 20, 20)
    voxel_size_angstrom = 10.0
    particle_diameter_angstrom: float | None = 120.0


def test_the_mask_is_that_of_the_store_unless_told() -> None:
    store, settings = _Store(), MineSettings()
    assert mask_radius_px(store, settings) == 6
    assert mask_diameter_angstrom(store, None) == 120
    assert mask_radius_px(store, settings.changed(mask_diameter_angstrom=100)) == 5
    assert mask_radius_px(store, settings.changed(mask_diameter_angstrom=0)) == np.inf
    store.particle_diameter_angstrom = None
    assert mask_radius_px(store, settings) == np.inf
    with pytest.raises(InputError, match="mask of 250 A does not fit into the box of 200 A"):
        mask_radius_px(store, settings.changed(mask_diameter_angstrom=250))


def test_boxes_are_cut_to_the_mask_before_they_are_searched(rng: np.random.Generator) -> None:
    """The smaller the box, the finer the details that the search looks at."""
    assert looked_at_px(44, np.inf) == 44
    assert looked_at_px(44, 13.5) == 34
    assert looked_at_px(30, 13.5) == 30
    volumes = rng.normal(size=(3, 16, 16, 16)).astype(np.float32)
    prepared = PreparedVolumes(ArraySource(volumes), box_px=8, crop_px=10)
    cut = normalise(fourier_crop(crop(normalise(volumes), 10), 8))
    np.testing.assert_allclose(prepared.read(np.arange(3)), cut, atol=1e-4)
