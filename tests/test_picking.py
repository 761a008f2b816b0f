"""Picking: the filter, blocks, peaks, thresholds, and the whole."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from aitom_disca.cli import main
from aitom_disca.config import ExtractSettings, PickSettings
from aitom_disca.errors import InputError
from aitom_disca.io import open_store, read_picks
from aitom_disca.io.tomograms.mrc import write_volume
from aitom_disca.io.tomograms.tomogram import Tomogram, open_tomogram
from aitom_disca.picking import (
    choose_threshold,
    difference_of_gaussians,
    find_candidates,
    pick_particles,
    read_membranes,
    sigma_from_diameter,
)
from aitom_disca.picking.centre import centre_of_mass
from aitom_disca.picking.dog import kernel_radius_px
from aitom_disca.picking.filter_blocks import split_into_blocks
from aitom_disca.picking.gold import _count
from aitom_disca.picking.membranes import near_membranes
from aitom_disca.picking.noise import expected_in_noise, peaks_in_noise_levels
from aitom_disca.picking.peak_search import level_of, search
from aitom_disca.picking.peaks import Peaks, keep_apart, local_extrema, merge_plateaus
from aitom_disca.picking.region import border_px
from aitom_disca.picking.scales import scales_of
from aitom_disca.picking.shapes import shape_of
from aitom_disca.picking.thresholds import (
    auto_threshold,
    clear_gap,
    fdr_threshold,
    split_in_two,
)
from aitom_disca.subtomograms import extract_subtomograms

SHAPE = (40, 51, 62)
CENTRES = np.array([(12, 13, 14), (13, 36, 15), (26, 14, 40), (27, 37, 47), (20, 25, 29)])
RADIUS = 4.0
SETTINGS = PickSettings(particle_diameter_angstrom=80)  # 8 voxels of 10 A


def make_tomogram(data, **options):
    return Tomogram("t1", Path("t1.mrc"), data, 10.0, (-60.0, 60.0), **options)


def balls(shape=SHAPE, centres=CENTRES, radius=RADIUS):
    grid = np.indices(shape)
    volume = np.zeros(shape, np.float32)
    for centre in centres:
        distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
        volume += np.clip(radius + 0.5 - distance, 0, 1)
    return volume


@pytest.fixture
def noisy(rng):
    return make_tomogram(100 + balls() + rng.normal(0, 1, SHAPE).astype(np.float32))


def as_set(zyx):
    return {tuple(int(v) for v in row) for row in zyx}


# the filter


@pytest.mark.parametrize("radius", [5.0, 7.0])
def test_sigma_from_diameter_answers_most_to_a_solid_ball(radius):
    shape = (63, 65, 67)
    ball = balls(shape, [(31, 32, 33)], radius)
    sigmas = sigma_from_diameter(2 * radius, 1.0) * np.linspace(0.8, 1.2, 9)
    ratio = 1.02  # narrow: the answer to sigma is then that of the Laplacian
    answers = [difference_of_gaussians(ball, s, ratio)[31, 32, 33] for s in sigmas]
    assert np.argmax(answers) == 4


def test_filter_turns_bright_particles_into_maxima():
    filtered = difference_of_gaussians(balls(), 2.3)
    assert all(filtered[tuple(c)] > 0.05 for c in CENTRES)
    assert filtered.dtype == np.float32


def test_filter_agrees_with_two_sampled_gaussians(rng):
    volume = rng.normal(size=(20, 23, 26)).astype(np.float32)
    plain = np.zeros_like(volume, float)
    for sigma, sign in ((1.5, 1), (1.5 * 1.3, -1)):
        r = np.arange(-8, 9)
        line = np.exp(-(r**2) / (2 * sigma**2))
        line /= line.sum()
        kernel = line[:, None, None] * line[:, None] * line
        plain += sign * ndimage.correlate(volume.astype(float), kernel, mode="nearest")
    result = difference_of_gaussians(volume, 1.5, 1.3)
    np.testing.assert_allclose(result, plain, atol=2e-4)  # its kernel ends at 4 sigma


@pytest.mark.parametrize("sigma_px", [0, -1, np.nan])
def test_filter_refuses_a_bad_sigma(sigma_px):
    with pytest.raises(InputError, match="sigma_px must be a positive number"):
        difference_of_gaussians(balls(), sigma_px)


@pytest.mark.parametrize("ratio", [1.0, 0.5, np.inf])
def test_filter_refuses_a_bad_ratio(ratio):
    with pytest.raises(InputError, match="sigma_ratio must be above 1"):
        difference_of_gaussians(balls(), 2, ratio)


@pytest.mark.parametrize(("lengths", "name"), [((0, 10), "diameter"), ((200, 0), "voxel size")])
def test_sigma_from_diameter_refuses_bad_lengths(lengths, name):
    with pytest.raises(InputError, match=f"the {name} must be a positive number of Angstrom"):
        sigma_from_diameter(*lengths)


# blocks


def test_cores_tile_the_volume_and_halos_stay_inside():
    count = np.zeros((10, 13, 17), int)
    for block in split_into_blocks(count.shape, (4, 5, 20), 3):
        count[block.core] += 1
        numbers = np.arange(count.size).reshape(count.shape)
        np.testing.assert_array_equal(
            numbers[block.padded][block.core_in_padded], numbers[block.core]
        )
        for core, padded, n in zip(block.core, block.padded, count.shape, strict=True):
            assert padded.start == max(core.start - 3, 0)
            assert padded.stop == min(core.stop + 3, n)
    assert (count == 1).all()


@pytest.mark.parametrize("shape", [(0, 5, 5), (5, 5)])
def test_blocks_refuse_a_bad_shape(shape):
    with pytest.raises(InputError, match="block shape must be three positive numbers"):
        split_into_blocks((10, 10, 10), shape, 1)


def test_blocks_refuse_a_negative_halo():
    with pytest.raises(InputError, match="halo of a block cannot be negative"):
        split_into_blocks((10, 10, 10), (5, 5, 5), -1)


def test_kernel_radius_is_the_reach_of_the_filter():
    for sigma in (1.0, 2.31, 4.34):
        point = np.zeros((81, 1, 1), np.float32)
        point[40] = 1
        reach = np.abs(np.flatnonzero(difference_of_gaussians(point, sigma)) - 40).max()
        assert reach <= kernel_radius_px(sigma, 1.1) <= reach + 1


# peaks


def plain_maxima(volume):
    found = []
    for centre in product(*(range(n) for n in volume.shape)):
        near = volume[tuple(slice(max(c - 1, 0), c + 2) for c in centre)]
        if volume[centre] > 0 and volume[centre] == near.max() > near.min():
            found.append(centre)
    return set(found)


def test_local_extrema_agree_with_a_plain_search(rng):
    volume = rng.normal(size=(9, 10, 13)).round(1)  # rounded: ties
    maxima, minima = local_extrema(volume)
    assert as_set(maxima.zyx) == plain_maxima(volume)
    assert as_set(minima.zyx) == plain_maxima(-volume)
    assert (minima.height > 0).all()
    np.testing.assert_array_equal(maxima.height, volume[tuple(maxima.zyx.T)])


def test_a_plateau_gives_one_peak_at_its_middle():
    volume = np.zeros((7, 9, 12))
    volume[3, 4, 3:8] = 2
    volume[1, 1, 10] = 2
    maxima = merge_plateaus(local_extrema(volume)[0])
    assert as_set(maxima.zyx) == {(3, 4, 5), (1, 1, 10)}


def test_a_flat_region_gives_no_peak():
    maxima, _ = local_extrema(np.full((7, 9, 12), 3.0))
    assert len(maxima) == 0 and len(merge_plateaus(maxima)) == 0


def test_keep_apart_agrees_with_a_plain_greedy_search(rng):
    zyx = np.unique(rng.integers(0, 25, (300, 3)), axis=0)
    peaks = Peaks(rng.permutation(zyx), rng.integers(1, 9, len(zyx)).astype(float))
    kept: list[tuple] = []
    rows = sorted(range(len(peaks)), key=lambda i: (-peaks.height[i], *peaks.zyx[i]))
    for row in rows:
        if all(np.linalg.norm(peaks.zyx[row] - other) >= 5 for other in kept):
            kept.append(tuple(peaks.zyx[row]))
    assert [tuple(p) for p in keep_apart(peaks, 5).zyx] == kept


def test_keep_apart_keeps_peaks_exactly_that_far_apart():
    peaks = Peaks(np.array([(0, 0, 0), (0, 3, 0), (0, 0, 2)]), np.array([1.0, 2.0, 0.5]))
    assert as_set(keep_apart(peaks, 3).zyx) == {(0, 0, 0), (0, 3, 0)}
    assert len(keep_apart(peaks, 0)) == 3


def test_keep_apart_takes_the_mean_of_two_distances():
    peaks = Peaks(np.array([(0, 0, 0), (0, 0, 7), (0, 0, 20)]), np.array([3.0, 2.0, 1.0]))
    assert len(keep_apart(peaks, np.array([4.0, 10.0, 9.0]))) == 3  # 7 and 9.5 apart, exactly 7
    assert as_set(keep_apart(peaks, np.array([4.1, 10.0, 9.0])).zyx) == {(0, 0, 0), (0, 0, 20)}


# thresholds


def test_std_and_absolute_and_aitom_rules():
    heights, voxels = np.array([1.0, 5.0, 21.0]), np.array([0.0, 2.0, 4.0])
    rest = heights, np.array([2.0]), 1.0, voxels
    assert choose_threshold("absolute", 3.5, *rest) == 3.5
    assert choose_threshold("std", 2, *rest) == pytest.approx(2 + 2 * np.sqrt(8 / 3))
    assert choose_threshold("aitom", 5, *rest) == pytest.approx(6)
    assert choose_threshold("aitom", None, *rest) == pytest.approx(4)


def test_absolute_rule_needs_a_threshold():
    with pytest.raises(InputError, match="'absolute' needs a threshold"):
        choose_threshold("absolute", None, np.ones(1), np.ones(1), 1.0, np.ones(1))


def test_fdr_rule_is_the_lowest_threshold_of_the_definition(rng):
    heights = np.concatenate([rng.gamma(2, 1, 300), rng.normal(9, 1, 100)])
    noise = rng.gamma(2, 1, 600)
    for rate in (0.01, 0.1, 0.4):
        good = [t for t in heights if (1 + 0.5 * (noise >= t).sum()) / (heights >= t).sum() <= rate]
        assert fdr_threshold(heights, noise, 0.5, rate) == min(good, default=np.inf)


@pytest.mark.parametrize("rate", [0, -0.1, 1.5])
def test_fdr_rule_refuses_what_is_no_rate(rate):
    with pytest.raises(InputError, match="is a rate above 0, at most 1"):
        choose_threshold("fdr", rate, np.ones(3), np.ones(3), 1.0, np.ones(3))


def test_split_in_two_finds_the_gap_and_says_how_clear_it_is(rng):
    low, high = rng.lognormal(0, 0.2, 80), rng.lognormal(3, 0.2, 40)
    split, clearness = split_in_two(rng.permutation(np.concatenate([low, high])))
    assert split == high.min() and clearness > 0.95
    assert split_in_two(rng.lognormal(0, 0.5, 4000))[1] == pytest.approx(2 / np.pi, abs=0.02)
    assert split_in_two(np.full(5, 2.0)) == (2.0, 0.0)


def test_auto_rule_takes_a_clear_gap_else_the_false_discovery_rate(rng):
    heights = np.concatenate([rng.uniform(0.5, 1, 100), rng.uniform(3, 6, 100)])
    noise = rng.gamma(2, 0.3, 300)
    gap = heights[100:].min()
    assert auto_threshold(heights, noise, 1.0) == clear_gap(heights) == gap
    assert auto_threshold(heights, noise, 1.0, 4.5) == gap
    assert auto_threshold(heights, noise, 1.0, 1.0) == 1.0  # lower already
    low = heights / 5  # in the noise: no gap
    assert clear_gap(low) == np.inf
    quiet = noise / 10
    assert auto_threshold(low, quiet, 1.0) == fdr_threshold(low, quiet, 1.0, 0.4) < 1
    assert auto_threshold(low, noise, 1.0) == 5  # nothing at that rate
    assert auto_threshold(low, noise, 1.0, 4.5) == 4.5


# noise


def test_pure_noise_gives_what_is_expected_in_it_and_no_pick(rng):
    shape = (60, 90, 90)
    noise = ndimage.gaussian_filter(rng.normal(5, 3, shape), 0.7).astype(np.float32)
    found = find_candidates(make_tomogram(noise), SETTINGS.changed(border_px=8))
    heights, share = expected_in_noise(scales_of(SETTINGS, 10.0), 44 * 74 * 74)
    assert len(found.particles) == 0 and "reaches the threshold" in found.reasons["t1"]
    for level in (1.5, 2.0, 2.5):
        expected = share * (heights >= level).sum()
        assert (found.heights["t1"] >= level).sum() == pytest.approx(expected, rel=0.35)


def test_the_noise_level_is_that_between_particles(rng):
    """Particles that fill the volume raise the level of all voxels, not the one that counts."""
    shape, settings = (60, 80, 80), PickSettings(sigma_px=2.3, particle_diameter_angstrom=80)
    centres = [
        c for c in product(range(9, 60, 14), range(9, 80, 14), range(9, 80, 14)) if sum(c) % 3
    ]
    noise = rng.normal(0, 0.3, shape).astype(np.float32)
    inside = tuple(slice(7, n - 7) for n in shape), None
    scales = scales_of(settings, 10.0)
    filters = [s.filter for s in scales]
    crowded = search(make_tomogram(noise + balls(shape, centres)), filters, inside)
    empty = search(make_tomogram(noise), filters, inside)
    n_voxels = 46 * 66 * 66
    truth = level_of(empty[0].voxels)[1]
    found, voxels = peaks_in_noise_levels(crowded, scales, n_voxels)
    level = crowded[0].voxels.std() / voxels.std()
    assert level_of(crowded[0].voxels)[1] > 1.2 * level
    assert truth < level
    assert (found.peaks.height > 10).sum() >= 0.6 * len(centres)  # some lie near the border


# scales


def test_each_pick_keeps_the_diameter_it_was_found_at(rng):
    shape = (50, 90, 90)
    small, large = [(25, 20, 20), (25, 70, 20)], [(25, 20, 65), (25, 65, 65)]
    data = balls(shape, small, 4.0) + balls(shape, large, 9.0)
    data = 5 * data + rng.normal(size=shape).astype(np.float32)
    settings = PickSettings(particle_diameter_angstrom=(180, 80))
    assert settings.diameters_angstrom == (80, 180)
    picks = pick_particles(make_tomogram(data), settings)
    nearest = [np.argmin(np.linalg.norm(picks.center_zyx_px - c, axis=1)) for c in small + large]
    assert picks.more["diameter_angstrom"][nearest].tolist() == [80, 80, 180, 180]
    assert np.linalg.norm(picks.center_zyx_px[nearest] - (small + large), axis=1).max() < 1.5
    assert len(picks) == 4  # none twice


def test_a_single_diameter_is_taken_with_its_neighbours():
    assert [round(s.diameter_px, 2) for s in scales_of(PickSettings(), 10.0)] == [14, 20, 28]
    assert len(scales_of(PickSettings(sigma_px=5.0), 10.0)) == 1
    both = PickSettings(particle_diameter_angstrom=(150, 270))
    assert [round(s.diameter_px, 2) for s in scales_of(both, 10.0)] == [15, 20.12, 27]
    assert [round(s.min_distance_px, 2) for s in scales_of(both, 10.0)] == [11.25, 15.09, 20.25]
    assert border_px(both, 10.0) == 22
    of_one_sigma = PickSettings(particle_diameter_angstrom=(150, 270), sigma_px=5.0)
    assert [s.diameter_px for s in scales_of(of_one_sigma, 10.0)] == [15, 27]
    assert [s.diameter_px for s in scales_of(both, 10.0, alone=True)] == [15, 27]


# gold, sheets, filaments


@pytest.mark.parametrize("diameter", [80, 100, 150])
def test_gold_is_set_apart_with_its_surroundings(rng, diameter):
    shape, beads = (50, 90, 90), [(24, 60, 25), (20, 25, 60)]
    protein = [(z, y, x) for z in (14, 36) for y in (14, 40, 76) for x in (14, 42, 76)]
    protein = [c for c in protein if np.linalg.norm(np.array(beads) - c, axis=1).min() > 18]
    data = 2 * balls(shape, protein, 6.0) + 15 * balls(shape, beads, diameter / 20)
    data = data + rng.normal(size=shape).astype(np.float32)
    settings = PickSettings(particle_diameter_angstrom=120, border_px=8)
    found = find_candidates(make_tomogram(data), settings)
    gold = found.junk["gold"].center_zyx_px
    assert len(gold) == 2 and np.linalg.norm(gold[:, None] - beads, axis=2).min(1).max() <= 2
    near = np.linalg.norm(found.particles.center_zyx_px[:, None] - beads, axis=2).min(1)
    assert near.min() > diameter / 20 + 3
    kept = find_candidates(make_tomogram(data), settings.changed(keep=("gold",)))
    assert len(kept.particles) == len(found.particles) + 2 and "gold" not in kept.junk


@pytest.mark.parametrize(
    ("heights", "gold"),
    [
        ([27, 26, 25, 24, 16.8, 16, 15, 11.9], 4),  # alike, and a gap of 1.43
        ([27, 26, 24, 16.8, 16, 15, 11.9], 0),  # too few for it
        ([36, 30, 26, 24, 16.8, 16, 15, 11.9], 0),  # as far from one another
        ([27, 17, 16, 11.9], 1),
        ([11, 5], 0),  # no gold is so faint
    ],
)
def test_how_many_stand_out_as_gold(heights, gold):
    assert _count(np.array(heights, float)) == gold


def test_particles_without_noise_are_no_gold():
    data = balls() + np.random.default_rng(0).normal(0, 0.01, SHAPE).astype(np.float32)
    found = find_candidates(make_tomogram(data), SETTINGS)
    assert len(found.particles) == len(CENTRES) and not found.junk


def test_shapes_of_a_ball_a_sheet_and_a_filament(rng):
    grid = np.indices((60, 60, 60)) - 30.0
    tilted = (grid[0] + grid[2]) / np.sqrt(2)
    volumes = {
        "particle": sum(grid**2) < 8**2,
        "sheet": np.abs(tilted) < 3,
        "filament": sum(grid**2) - tilted**2 < 4**2,
    }
    for name, volume in volumes.items():
        noisy = volume + rng.normal(0, 1, volume.shape)
        assert shape_of(ndimage.gaussian_filter(noisy, 2.5), np.full(3, 30.0), 15.0) == name


def test_picks_on_a_bilayer_are_sheets_and_particles_beside_it_are_not(rng):
    shape = (60, 100, 100)
    wall = np.zeros(shape, np.float32)
    wall[:, :, 48:50] = wall[:, :, 52:54] = 1
    centres = [(30, 20, 20), (30, 70, 22), (30, 45, 75), (30, 80, 80)]
    data = 4 * wall + 2 * balls(shape, centres, 10.0) + rng.normal(size=shape)
    settings = PickSettings(particle_diameter_angstrom=200, threshold_rule="absolute", threshold=3)
    found = find_candidates(make_tomogram(data.astype(np.float32)), settings)
    from_centre = np.linalg.norm(found.particles.center_zyx_px[:, None] - centres, axis=2)
    assert from_centre.min(axis=0).max() < 3
    assert len(found.junk["sheet"]) >= 5
    off_wall = np.abs(found.junk["sheet"].center_zyx_px[:, 2] - 50.5)
    assert (off_wall < 5).mean() > 0.8
    assert (np.abs(found.particles.center_zyx_px[:, 2] - 50.5) < 5).sum() <= 1


def test_picks_near_given_membranes_are_sheets(noisy, tmp_path):
    membranes = np.zeros(SHAPE, bool)
    z, y, x = CENTRES[0]
    membranes[z, y, x + 4] = True
    settings = SETTINGS.changed(membrane_distance_angstrom=60.0)
    found = find_candidates(noisy, settings, membranes=membranes)
    assert np.linalg.norm(found.junk["sheet"].center_zyx_px - CENTRES[0], axis=1).max() < 2
    assert len(found.particles) == len(CENTRES) - 1
    write_volume(tmp_path / "t1_membranes.mrc", membranes, 10.0)
    write_volume(tmp_path / "other.mrc", membranes[1:], 10.0)
    both = [tmp_path / "t1_membranes.mrc", tmp_path / "other.mrc"]
    np.testing.assert_array_equal(read_membranes(noisy, both), membranes)
    with pytest.raises(InputError, match=r"are \(39, 51, 62\) voxels .* of the same size"):
        read_membranes(noisy, both[1:])
    with pytest.raises(InputError, match="none of the 2 files of --membranes is of tomogram t1"):
        read_membranes(noisy, both[1:] * 2)
    assert read_membranes(noisy, []) is None


def test_near_membranes_agrees_with_a_plain_distance(rng):
    membranes = rng.random((12, 13, 14)) < 0.01
    places = rng.uniform(0, 11, (40, 3))
    plain = [np.linalg.norm(np.argwhere(membranes) - p, axis=1).min() <= 2.5 for p in places]
    assert near_membranes(membranes, places, 2.5).tolist() == plain and 0 < sum(plain) < 40


def test_centre_of_mass_finds_the_centre_and_keeps_off_the_neighbour():
    density = ndimage.gaussian_filter(balls((60, 60, 60), [(30, 30, 30), (30, 30, 49)], 8.0), 1.5)
    place = centre_of_mass(density, np.array([31, 27, 33]), 16.0)
    assert np.linalg.norm(place - 30) < 0.7


# the whole


def test_planted_balls_are_found_best_first(noisy):
    picks = pick_particles(noisy, SETTINGS)
    distance = np.linalg.norm(picks.center_zyx_px[:, None] - CENTRES, axis=2)
    assert len(picks) == len(CENTRES)
    assert distance.min(axis=0).max() <= 1.0
    assert (np.diff(picks.score) <= 0).all()
    assert set(picks.tomogram_name) == {"t1"} and picks.tomograms["t1"] == noisy.info


@pytest.mark.parametrize(
    ("rule", "c", "block"),
    [
        ("auto", None, (13, 17, 19)),
        ("fdr", 0.9, (17, 51, 40)),
        ("std", None, (40, 23, 62)),
        ("aitom", None, (30, 51, 33)),
        ("absolute", 0.05, (27, 29, 62)),
    ],
)
def test_blocks_do_not_change_the_result(noisy, rule, c, block):
    settings = PickSettings(
        particle_diameter_angstrom=80, threshold_rule=rule, threshold=c, border_px=0
    )
    mask = np.ones(SHAPE, bool)
    mask[:, :20, 30:] = False
    whole = pick_particles(noisy, settings, mask=mask, block_shape_zyx=SHAPE)
    parts = pick_particles(noisy, settings, mask=mask, block_shape_zyx=block)
    np.testing.assert_array_equal(parts.center_zyx_px, whole.center_zyx_px)
    np.testing.assert_array_equal(parts.score, whole.score)


def test_grey_level_and_polarity_do_not_matter(noisy):
    bright = pick_particles(noisy, SETTINGS)
    dark = pick_particles(make_tomogram(30_000 - noisy.data, dark_protein=True), SETTINGS)
    np.testing.assert_allclose(bright.center_zyx_px, dark.center_zyx_px, atol=0.01)
    np.testing.assert_allclose(bright.score, dark.score, atol=0.01)


def test_picks_keep_their_distance_and_stay_inside_border_and_mask(noisy):
    mask = np.ones(SHAPE, bool)
    mask[:, :, 35:] = False
    settings = PickSettings(
        particle_diameter_angstrom=80,
        sigma_px=1,
        threshold_rule="absolute",
        threshold=0,
        min_distance_px=6,
        border_px=5,
    ).changed(keep=("sheet", "filament"))
    zyx = pick_particles(noisy, settings, mask=mask).center_zyx_px
    apart = np.linalg.norm(zyx[:, None] - zyx, axis=2)[~np.eye(len(zyx), dtype=bool)]
    assert len(zyx) > 20 and apart.min() >= 6
    assert (zyx >= 5).all() and (zyx < np.array(SHAPE) - 5).all()
    assert mask[tuple(np.rint(zyx).astype(int).T)].all()


def test_max_picks_keeps_the_best(noisy):
    everything = pick_particles(noisy, SETTINGS)
    best = pick_particles(noisy, SETTINGS.model_copy(update={"max_picks": 2}))
    np.testing.assert_array_equal(best.score, everything.score[:2])


@pytest.mark.parametrize("edge", [-5.0, 5.0])
@pytest.mark.parametrize("width", [1, 3])
def test_bright_and_dark_edges_are_not_picked(rng, edge, width):
    data = balls() + rng.normal(0, 0.5, SHAPE).astype(np.float32)
    inner = tuple(slice(width, -width) for _ in SHAPE)
    rim = np.ones(SHAPE, bool)
    rim[inner] = False
    data[rim] += edge
    picks = pick_particles(make_tomogram(data), SETTINGS.changed(threshold=4.5))
    distance = np.linalg.norm(picks.center_zyx_px[:, None] - CENTRES, axis=2).min(axis=1)
    assert len(picks) >= len(CENTRES) - 1 and distance.max() <= 2  # one lies beside the rim


def test_default_border_leaves_room_for_the_default_box():
    from aitom_disca.subtomograms import plan_box

    for voxel_size in (4.0, 10.0, 13.3, 14.0):
        box = plan_box(ExtractSettings(), voxel_size).cut_px
        assert border_px(PickSettings(), voxel_size) == box // 2


def test_padding_does_not_lower_the_noise_level(rng):
    data = np.full((40, 60, 90), 100, np.float32)
    data[:, :, :62] = 100 + balls((40, 60, 62)) + rng.normal(0, 0.6, (40, 60, 62))
    picks = pick_particles(make_tomogram(data), SETTINGS)
    assert len(picks) == len(CENTRES)


def test_microtubule_picks_lie_on_its_wall(shared_data):
    tomogram = open_tomogram(
        shared_data / "tomograms" / "microtubule_13pf.mrc", tilt_range_deg=(-67, 57)
    )
    settings = PickSettings(particle_diameter_angstrom=80, keep=("sheet", "filament"))
    picks = pick_particles(tomogram, settings)
    first, last = np.array([18.0, 180.6, 27.6]), np.array([18.0, 102.5, 48.9])
    along = (last - first) / np.linalg.norm(last - first)

    def off_wall_px(zyx):
        offset = zyx - first
        from_axis = np.linalg.norm(offset - np.outer(offset @ along, along), axis=1)
        return np.abs(from_axis - 105 / tomogram.voxel_size_angstrom)

    zyx = picks.center_zyx_px  # only where the axis is known
    zyx = zyx[(zyx[:, 1] > 102) & (zyx[:, 1] < 181)]
    everywhere = np.argwhere(np.ones((36, 79, 94))) + np.array((0, 102, 0))
    share = (off_wall_px(everywhere) <= 3).mean()
    assert len(zyx) >= 15
    assert (off_wall_px(zyx) <= 3).mean() > max(0.7, 4 * share)


# bad input


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_voxels_are_refused(noisy, bad):
    data = noisy.data.copy()
    data[1, 2, 3] = bad
    with pytest.raises(InputError, match="not finite"):
        pick_particles(make_tomogram(data), SETTINGS)


@pytest.mark.parametrize("value", [0.0, 7.3])
def test_a_constant_tomogram_is_refused(value):
    with pytest.raises(InputError, match=f"every voxel of tomogram t1 is {value:g}"):
        pick_particles(make_tomogram(np.full(SHAPE, value, np.float32)), SETTINGS)


def test_no_pick_names_the_best_peak_and_the_threshold(noisy):
    settings = PickSettings(
        particle_diameter_angstrom=80, threshold_rule="absolute", threshold=1234
    )
    found = find_candidates(noisy, settings)
    best = found.heights["t1"][0]
    assert len(found.particles) == 0 and len(pick_particles(noisy, settings)) == 0
    assert f"threshold 1234 of the rule 'absolute', the best is {best:.4g}" in found.reasons["t1"]


def test_no_bright_peak_where_picks_may_lie():
    mask = np.zeros(SHAPE, bool)
    mask[CENTRES[0][0], CENTRES[0][1], CENTRES[0][2] + 7] = True
    found = find_candidates(make_tomogram(balls()), SETTINGS, mask=mask)
    assert "has no bright peak where picks may lie" in found.reasons["t1"]


def test_a_mask_of_another_size_is_refused(noisy):
    with pytest.raises(InputError, match=r"the mask is \(62, 51, 40\) voxels"):
        pick_particles(noisy, SETTINGS, mask=np.ones(SHAPE[::-1], bool))


def test_an_empty_mask_is_refused(noisy):
    mask = np.zeros(SHAPE, bool)
    mask[0] = True  # inside of the border
    with pytest.raises(InputError, match="leaves no voxel farther than 7"):
        pick_particles(noisy, SETTINGS, mask=mask)


@pytest.mark.parametrize("options", [{"sigma_px": 12.0, "border_px": 0}, {"border_px": 20}])
def test_a_tomogram_too_small_for_the_particle_is_refused(noisy, options):
    with pytest.raises(InputError, match="too small for particles of"):
        pick_particles(noisy, PickSettings(particle_diameter_angstrom=80, **options))


def test_bad_settings_are_refused_when_they_are_made():
    for name, value in {
        "particle_diameter_angstrom": 0,
        "sigma_ratio": 1.0,
        "threshold": float("nan"),
        "border_px": -1,
        "max_picks": 0,
        "threshold_rule": "best",
    }.items():
        with pytest.raises(InputError, match=name):
            PickSettings.checked(**{name: value})


def test_settings_are_optional(rng):
    data = 50 + 3 * balls((60, 61, 62), [(30, 31, 29)], 10).astype(np.float32)
    tomogram = make_tomogram(data + rng.normal(size=data.shape).astype(np.float32))
    picks = pick_particles(tomogram)
    assert np.abs(picks.center_zyx_px[0] - (30, 31, 29)).max() <= 1


# files


def test_pick_writes_what_goes_on_what_was_set_apart_and_a_report(noisy, tmp_path):
    membranes = np.zeros(SHAPE, np.float32)
    membranes[tuple(CENTRES[0])] = 1
    write_volume(tmp_path / "t1.mrc", noisy.data, 10.0, tilt_range_deg=(-60, 60))
    write_volume(tmp_path / "membranes.mrc", membranes, 10.0)
    out, report = tmp_path / "picks.csv", tmp_path / "picks.html"
    command = ["pick", str(tmp_path / "t1.mrc"), "-d", "80", "--out", str(out), "--overwrite"]
    command += ["--membranes", str(tmp_path / "membranes.mrc")]
    assert main([*command, "--report", str(report)]) == 0
    picks = read_picks(out)
    assert len(picks) == len(CENTRES) - 1
    assert set(picks.more["kind"]) == {"particle"}
    assert set(picks.more["diameter_angstrom"]) <= {56, 80, 112}
    junk = tmp_path / "picks_junk" / "sheet.star"
    assert len(read_picks(junk)) == 1
    assert "set apart" in report.read_text() and report.read_text().count("<img") == 4
    assert main([*command, "--keep", "sheet"]) == 0
    assert len(read_picks(out)) == len(CENTRES) and not junk.exists()

    store = tmp_path / "store.h5"
    tomogram = open_tomogram(tmp_path / "t1.mrc")
    extract_subtomograms([tomogram], picks, store, ExtractSettings(box_px=12))
    with open_store(store) as opened:
        kept = opened.particles().more["diameter_angstrom"]
    np.testing.assert_array_equal(kept, picks.more["diameter_angstrom"])


def test_bad_diameters_and_kinds_are_refused(noisy, tmp_path, capsys):
    write_volume(tmp_path / "t1.mrc", noisy.data, 10.0, tilt_range_deg=(-60, 60))
    command = ["pick", str(tmp_path / "t1.mrc"), "--out", str(tmp_path / "p.csv")]
    for options, said in (
        (["-d", "80,big"], "several such as 150,270"),
        (["-d", "80,-3"], "particle_diameter_angstrom"),
        (["-d", "80", "--keep", "ice"], "keep"),
    ):
        assert main([*command, *options]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()
