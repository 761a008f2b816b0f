"""Picking: the filter, blocks, peaks, thresholds, and the whole."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from aitom_disca.config import PickSettings
from aitom_disca.errors import InputError
from aitom_disca.io.mrc import Tomogram, open_tomogram
from aitom_disca.picking import (
    choose_threshold,
    difference_of_gaussians,
    pick_particles,
    sigma_from_diameter,
)
from aitom_disca.picking.blocks import split_into_blocks
from aitom_disca.picking.dog import kernel_radius_px
from aitom_disca.picking.peaks import Peaks, keep_apart, local_extrema, merge_plateaus
from aitom_disca.picking.thresholds import auto_threshold, fdr_threshold, split_in_two

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


# thresholds


def test_std_and_absolute_and_aitom_rules():
    maxima, minima, voxels = np.array([1.0, 5.0, 21.0]), np.array([2.0]), np.array([0.0, 2.0, 4.0])
    assert choose_threshold("absolute", 3.5, maxima, minima, voxels) == 3.5
    assert choose_threshold("std", 2, maxima, minima, voxels) == pytest.approx(
        2 + 2 * np.sqrt(8 / 3)
    )
    assert choose_threshold("aitom", 5, maxima, minima, voxels) == pytest.approx(6)
    assert choose_threshold("aitom", None, maxima, minima, voxels) == pytest.approx(4)


def test_absolute_rule_needs_a_threshold():
    with pytest.raises(InputError, match="'absolute' needs a threshold"):
        choose_threshold("absolute", None, np.ones(1), np.ones(1), np.ones(1))


def test_fdr_rule_is_the_lowest_threshold_of_the_definition(rng):
    maxima = np.concatenate([rng.gamma(2, 1, 300), rng.normal(9, 1, 100)])
    minima = rng.gamma(2, 1, 300)
    for rate in (0.01, 0.1, 0.4):
        good = [t for t in maxima if (1 + (minima >= t).sum()) / (maxima >= t).sum() <= rate]
        assert fdr_threshold(maxima, minima, rate) == min(good, default=np.inf)


def test_fdr_rule_lets_nothing_pass_where_dark_and_bright_peaks_are_alike(rng):
    assert fdr_threshold(rng.gamma(2, 1, 300), rng.gamma(2, 1, 300) + 0.5, 0.2) == np.inf


@pytest.mark.parametrize("rate", [0, -0.1, 1.5])
def test_fdr_rule_refuses_what_is_no_rate(rate):
    with pytest.raises(InputError, match="is a rate above 0, at most 1"):
        choose_threshold("fdr", rate, np.ones(3), np.ones(3), np.ones(3))


def test_split_in_two_finds_the_gap_and_says_how_clear_it_is(rng):
    low, high = rng.lognormal(0, 0.2, 80), rng.lognormal(3, 0.2, 40)
    split, clearness = split_in_two(rng.permutation(np.concatenate([low, high])))
    assert split == high.min() and clearness > 0.95
    assert split_in_two(rng.lognormal(0, 0.5, 4000))[1] == pytest.approx(2 / np.pi, abs=0.02)
    assert split_in_two(np.full(5, 2.0)) == (2.0, 0.0)


def test_auto_rule_is_noise_levels_above_the_median(rng):
    voxels = rng.normal(7, 2, 40_001)
    voxels[:400] = 1000  # particles: no matter
    maxima = np.abs(rng.normal(9, 2, 500))
    assert auto_threshold(maxima, voxels, 4.5) == pytest.approx(7 + 9, rel=0.03)
    assert auto_threshold(maxima[:5], voxels, 4.5) == auto_threshold(maxima, voxels, 4.5)


def test_auto_rule_takes_a_clear_gap_that_lies_lower(rng):
    voxels = rng.normal(0, 2, 40_000)
    maxima = np.concatenate([rng.uniform(0.5, 1, 100), rng.uniform(6, 12, 100)])
    assert auto_threshold(maxima, voxels, 4.5) == maxima[100:].min()
    assert auto_threshold(maxima, voxels, 1.0) == pytest.approx(2, rel=0.05)  # lower already
    assert auto_threshold(maxima / 5, voxels, 4.5) == pytest.approx(9, rel=0.05)  # in the noise


# the whole


def test_planted_balls_are_found_best_first(noisy):
    picks = pick_particles(noisy, SETTINGS)
    distance = np.linalg.norm(picks.center_zyx_px[:, None] - CENTRES, axis=2)
    assert len(picks) == len(CENTRES)
    assert distance.min(axis=0).max() <= 1.5
    assert (np.diff(picks.score) <= 0).all()
    assert set(picks.tomogram_name) == {"t1"} and picks.tomograms["t1"] == noisy.info


@pytest.mark.parametrize("rule", ["auto", "fdr", "std", "aitom", "absolute"])
@pytest.mark.parametrize("block", [(40, 51, 62), (17, 23, 62), (8, 9, 10)])
def test_blocks_do_not_change_the_result(noisy, rule, block):
    c = {"absolute": 0.05, "fdr": 0.9}.get(rule)
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
    np.testing.assert_array_equal(bright.center_zyx_px, dark.center_zyx_px)
    np.testing.assert_allclose(bright.score, dark.score, atol=0.01)


def test_picks_keep_their_distance_and_stay_inside_border_and_mask(noisy):
    mask = np.ones(SHAPE, bool)
    mask[:, :, 35:] = False
    settings = PickSettings(
        sigma_px=1, threshold_rule="absolute", threshold=0, min_distance_px=6, border_px=5
    )
    zyx = pick_particles(noisy, settings, mask=mask).center_zyx_px
    apart = np.linalg.norm(zyx[:, None] - zyx, axis=2)[~np.eye(len(zyx), dtype=bool)]
    assert len(zyx) > 20 and apart.min() >= 6
    assert (zyx >= 5).all() and (zyx < np.array(SHAPE) - 5).all()
    assert mask[tuple(zyx.astype(int).T)].all()


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
    picks = pick_particles(make_tomogram(data), SETTINGS)
    distance = np.linalg.norm(picks.center_zyx_px[:, None] - CENTRES, axis=2).min(axis=1)
    assert len(picks) >= len(CENTRES) - 1 and distance.max() <= 2  # one lies beside the rim


def test_default_border_leaves_room_for_the_default_box():
    from aitom_disca.config import ExtractSettings
    from aitom_disca.picking.pick import _lengths
    from aitom_disca.subtomograms import plan_box

    for voxel_size in (4.0, 10.0, 13.3, 14.0):
        box = plan_box(ExtractSettings(), voxel_size).cut_px
        assert _lengths(PickSettings(), voxel_size).border == box // 2


def test_padding_does_not_lower_the_noise_level(rng):
    data = np.full((40, 60, 90), 100, np.float32)
    data[:, :, :62] = 100 + balls((40, 60, 62)) + rng.normal(0, 0.6, (40, 60, 62))
    picks = pick_particles(make_tomogram(data), SETTINGS)
    assert len(picks) == len(CENTRES)


def test_microtubule_picks_lie_on_its_wall(shared_data):
    tomogram = open_tomogram(
        shared_data / "tomograms" / "microtubule_13pf.mrc", tilt_range_deg=(-67, 57)
    )
    picks = pick_particles(tomogram, PickSettings(particle_diameter_angstrom=80))
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
    best = pick_particles(noisy, SETTINGS).score[0]
    with pytest.raises(InputError, match=f"threshold 1234 .* 'absolute', the best is {best:.4g}"):
        pick_particles(noisy, settings)


def test_pure_noise_gives_no_pick(rng):
    tomogram = make_tomogram(rng.normal(size=(48, 50, 52)).astype(np.float32))
    with pytest.raises(InputError, match="no peak of tomogram t1 reaches the threshold"):
        pick_particles(tomogram, PickSettings(particle_diameter_angstrom=80, threshold=6))


def test_no_bright_peak_where_picks_may_lie():
    mask = np.zeros(SHAPE, bool)
    mask[CENTRES[0][0], CENTRES[0][1], CENTRES[0][2] + 5] = True
    with pytest.raises(InputError, match="has no bright peak where picks may lie"):
        pick_particles(make_tomogram(balls()), SETTINGS, mask=mask)


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
