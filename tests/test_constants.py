"""The constants of sorting: each is guarded by a case that goes wrong where it moves far."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from scipy.spatial.transform import Rotation
from sklearn.base import clone
from tiny_settings import MINE

from aitom_disca import DISCA, InputError, MineSettings
from aitom_disca.alignment.align_averages import AveragePairs, turned
from aitom_disca.alignment.coefficients import Coefficients, Particles
from aitom_disca.alignment.expectation import expect, shell_power, whitened
from aitom_disca.alignment.graded_wedge import measure_fall_off
from aitom_disca.alignment.maximisation import Averager
from aitom_disca.alignment.search_grids import ball, cross, cube, rotation_grid
from aitom_disca.alignment.slices import Slicer
from aitom_disca.alignment.to_reference import align_to_reference
from aitom_disca.bench.crowded import crowded_subtomograms, hollow_shell
from aitom_disca.classification import AlignmentSorter
from aitom_disca.classification.assignments_of_all import Standing
from aitom_disca.classification.centring import centred, dense_centre
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.cluster_posterior import held_out_gain
from aitom_disca.classification.coarse_and_fine import starts_of_tries
from aitom_disca.classification.detail_levels import Levels, Look
from aitom_disca.classification.expectation_maximisation import Search, _parts
from aitom_disca.classification.first_references import averages_of, singles
from aitom_disca.classification.merge_clusters import Merger, Verdict, _candidates, _z
from aitom_disca.classification.missed_structures import _worst, some_of
from aitom_disca.classification.noise_clusters import is_structure, noise_limit
from aitom_disca.classification.rounds_over_all import AllParticles
from aitom_disca.classification.shifts_by_class import Fit, finely
from aitom_disca.cli.given_options import sorting_constants
from aitom_disca.config import AverageSettings
from aitom_disca.config.alignment import TO_REFERENCE, ToReferenceSettings
from aitom_disca.config.base import Settings
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.geometry.fall_off_with_tilt import TILTS_DEG, FallOff
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.io import StoreWriter
from aitom_disca.mining.checkpoint import fingerprint
from aitom_disca.mining.model_file import Bundle
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline import mine
from aitom_disca.simulation import load_phantoms, simulate_subtomograms
from aitom_disca.simulation.phantoms import Phantom

TILT, BOX = (-60.0, 60.0), 12


def fields_of(settings: type[BaseModel], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names, with groups before them, and fields of all constants."""
    for name, field in settings.model_fields.items():
        if isinstance(field.default, Settings):
            yield from fields_of(type(field.default), f"{before}{name}.")
        else:
            yield before + name, field


FIELDS = dict(fields_of(SortingSettings))
FIELDS |= dict(fields_of(ToReferenceSettings, "to_reference."))


def moved(name: str, value: Any) -> tuple[SortingSettings, ToReferenceSettings]:
    """All constants with one at another value."""
    *group, last = name.split(".")
    if group == ["to_reference"]:
        return SORTING, TO_REFERENCE.changed(**{last: value})
    if not group:
        return SORTING.changed(**{last: value}), TO_REFERENCE
    return SORTING.changed(**{group[0]: getattr(SORTING, group[0]).changed(**{last: value})}), (
        TO_REFERENCE
    )


# -- what the cases look at ------------------------------------------------------------------------


@cache
def phantom(name: str, box_px: int = BOX, voxel_angstrom: float = 24.0) -> np.ndarray:
    return load_phantoms()[name].density(box_px, voxel_angstrom)


@cache
def made(snr: float = 1.0, n: int = 20, shift_px: float = 0.5) -> Any:
    templates = [load_phantoms()[name] for name in ("two_lobes", "ring")]
    return simulate_subtomograms(templates, n, BOX, 24.0, snr, TILT, shift_px, seed=1)


def tiny(settings: SortingSettings, n_rotations: int = 60) -> Search:
    shifts = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    return Search(BOX, 4.0, TILT, n_rotations, shifts, 4, settings=settings)


def particles(search: Search, volumes: np.ndarray) -> Particles:
    coefficients = search.coefficients
    values = coefficients.of(volumes)
    values = whitened(values, coefficients.shell, shell_power(values, coefficients.shell))
    half = np.random.default_rng(0).permutation(len(volumes)) % 2
    return Particles(coefficients, values, np.zeros((len(volumes), 3)), half)


def noise(n: int, seed: int = 5, box_px: int = BOX) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(n, *(box_px,) * 3))
    return made.astype(np.float32)


def known(search: Search, seen: Particles, labels: np.ndarray, rounds: int = 3) -> Classes:
    """Averages of clusters that are known, and what all say of them."""
    found = []
    for k in range(labels.max() + 1):
        rows = np.flatnonzero(labels == k)
        mine = seen.select(rows)
        found.append(search.iterate(mine, singles(mine, np.array([0])), rounds=rounds))
    offset = np.zeros((len(labels), 3))
    for k, one in enumerate(found):
        offset[labels == k] = one.offset_zyx_px
    return Classes.start([one.averages[0] for one in found], offset).with_even_prior()


def agree(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


# -- the cases: true where all is as it should be --------------------------------------------------

Case = Callable[[SortingSettings, ToReferenceSettings], bool]


@cache
def a_level_finds_poses(level: str) -> Case:
    """Of a structure that is turned and moved nearly all is found again; at a bounded cost."""

    def case(settings: SortingSettings, _: ToReferenceSettings) -> bool:
        detail = settings.fine if level in ("fine", "near") else settings.coarse
        coefficients = Coefficients(20, min(detail.radius, 9.0), TILT)
        shifts = {
            "wide": lambda: ball(settings.wide.shift_step_px, settings.wide.range_px),
            "first": lambda: cube(settings.first.shift_step_px),
            "near": lambda: cross(settings.merging.near_step_px),
        }.get(level, lambda: cross(detail.shift_step_px))()
        if len(shifts) * detail.n_rotations * len(coefficients) > MOST[level]:
            return False
        levels = Levels.of(20, TILT, settings=settings)
        search: Any = levels.fine if level == "near" else getattr(levels, level)
        tried: Any = search
        if level == "near":
            tried = Merger(search, None, None)._steps[-1]  # type: ignore[arg-type]
        np.testing.assert_array_equal(tried.shifts_zyx_px, shifts)
        volume = phantom("letter_l", 20, 14.0)
        values = Slicer(coefficients, Rotation.random(8, random_state=2))(volume)
        at = np.random.default_rng(1).normal(size=(8, 3))
        at *= REACH[level] / np.linalg.norm(at, axis=1, keepdims=True)
        values = values * coefficients.shift_phases(-at)
        slices = search.slicer(volume)
        others = search.slicer(phantom("ring", 20, 14.0))

        def best(slices: np.ndarray) -> np.ndarray:
            shifted = values[:, None] * coefficients.shift_phases(shifts)
            score = np.einsum("nsc,rc->nsr", shifted, slices.conj()).real
            score /= np.linalg.norm(slices, axis=1) * np.linalg.norm(values, axis=1)[:, None, None]
            return score.max(axis=(1, 2))

        right, wrong = best(slices).mean(), best(others).mean()
        return bool(right > LEAST[level] and right - wrong > 0.1)

    case.__name__ = f"{level}_finds_poses"
    return case


LEAST = {"coarse": 0.84, "fine": 0.84, "near": 0.84, "wide": 0.8, "first": 0.8}
MOST = {"coarse": 3e6, "fine": 9e6, "near": 9e6, "wide": 3e7, "first": 1e7}
# Voxels from the box centre.
REACH = {"coarse": 1.6, "fine": 1.6, "near": 1.6, "wide": 3.2, "first": 2.2}


def poses_left_out_weigh_little(settings: SortingSettings, _: Any) -> bool:
    search = tiny(settings)
    seen = particles(search, made(0.3).volumes)
    slices = search.slices(list(0.4 * seen.coefficients.volumes(seen.values[[0, 20]])))

    def at(negligible: float) -> Any:
        even = np.zeros(2)
        return expect(seen, slices, even, search.shifts_zyx_px, negligible=negligible)

    found, whole = at(settings.rounds.negligible), at(1e6)
    apart = np.abs(found.posterior - whole.posterior).max()
    return bool(apart < 0.05 and (found.counts > 0).mean() < 0.99 * (whole.counts > 0).mean())


def a_single_draws_in_its_like(settings: SortingSettings, _: Any) -> bool:
    """Others of its structure gain by it, and clearly more than those of another one."""
    search = tiny(settings, 200)
    seen, truth = particles(search, made(0.3).volumes), made(0.3).labels
    classes = singles(seen, np.array([0, 20]), settings.first)
    slices = search.slices(classes.averages)
    fit = np.array(
        [
            expect(seen, one[None], np.zeros(1), search.shifts_zyx_px, add_up=False).log_likelihood
            for one in slices
        ]
    )
    rows = np.setdiff1d(np.arange(len(truth)), [0, 20])
    own, other = fit[truth[rows], rows], fit[1 - truth[rows], rows]
    return bool(np.median(own) > 2 and np.median(own - other) > 2)


def noise_is_told_from_particles(settings: SortingSettings, _: Any) -> bool:
    """Little of other noise is above the limit, particles are, and the limit is a steady one."""
    search = tiny(settings)
    seen, truth = particles(search, made(1.0).volumes), made(1.0).labels
    classes = known(search, seen, truth)
    limits = [
        noise_limit(search, classes, np.inf, np.random.default_rng(seed), None) for seed in range(3)
    ]
    pure = noise(100)
    look = Look.at(search, pure, np.inf)
    others = look.particles(search, pure, np.zeros(100, int))
    of_noise = search.weigh(others, classes.for_others(others.offset_zyx_px)).log_likelihood
    of_particles = search.weigh(seen, classes).log_likelihood
    return bool(
        (of_noise > limits[0]).mean() < 0.06
        and (of_particles > limits[0]).mean() > 0.9
        and np.ptp(limits) < 3
    )


def a_cluster_of_noise_is_none(settings: SortingSettings, _: Any) -> bool:
    search, verdicts = tiny(settings), []
    for volumes in (made(1.0).volumes[:20], noise(20)):
        seen = particles(search, volumes)
        (average,) = known(search, seen, np.zeros(20, int)).averages
        verdicts.append(is_structure(search, seen, average))
    return verdicts == [True, False]


def held_out_coefficients_tell(settings: SortingSettings, _: Any) -> bool:
    search = tiny(settings)
    seen, truth = particles(search, made(0.5).volumes), made(0.5).labels
    classes = replace(known(search, seen, truth), labels=truth)
    verdicts = held_out_gain(search, seen, classes, np.random.default_rng(0))
    return all(verdict.z > 5 for verdict in verdicts)


def poorly_sampled_places_are_held_back(settings: SortingSettings, _: Any) -> bool:
    """Views of mostly one direction, with noise: the average is like the structure."""
    coefficients = Coefficients(BOX, 5.0, (-40.0, 40.0))
    turns = Rotation.from_rotvec(np.random.default_rng(3).normal(0, 0.6, (40, 3)))
    slicer = Slicer(coefficients, turns)
    rng = np.random.default_rng(4)
    sums = slicer(phantom("letter_l"))
    spread = 3 * np.abs(sums).std()
    sums = sums + spread * (rng.normal(size=sums.shape) + 1j * rng.normal(size=sums.shape))
    averager = Averager(slicer, 6, settings=settings.reconstruction)
    average = averager.unfiltered(slicer.insert(sums.astype(np.complex64), np.ones(40)))
    return agree(average, phantom("letter_l")) > LIKE


LIKE = 0.75


def halves_that_share_nothing_are_damped(settings: SortingSettings, _: Any) -> bool:
    """To a twenty-fifth, but not to nothing, from which no round would bring them back."""
    search = tiny(settings)
    parts = [
        search.slicer.insert(particles(search, noise(60, seed)).values, np.ones(60))
        for seed in (0, 1)
    ]
    correlation = search.averager.combine(*parts).correlation
    return bool(1e-3 < correlation.min() < 0.2)


def lies_in_the_middle(settings: SortingSettings, _: Any) -> bool:
    """A ball off the centre, beside a brighter neighbour at the side of the box, and noise."""
    n, centring = 20, settings.centring
    grid = np.indices((n,) * 3) - n // 2

    def ball_at(place: tuple[float, ...], radius: float) -> np.ndarray:
        at = np.array(place)[:, None, None, None]
        return (((grid - at) ** 2).sum(axis=0) <= radius**2).astype(float)

    volume = ball_at((1.5, -1.0, 0.5), 5.5) - ball_at((1.5, -1.0, 0.5), 3.5)
    volume += 1.5 * ball_at((-9.0, 5.0, 0.0), 2.5)
    volume += np.random.default_rng(0).normal(0, 0.3, volume.shape)
    found = dense_centre(volume, settings=centring)
    return bool(np.linalg.norm(found - (1.5, -1.0, 0.5)) < 0.5)


def averages_near_the_centre_stay(settings: SortingSettings, _: Any) -> bool:
    """And those that are not there are moved."""
    whole, still = phantom("cross", 16, 16.0), Rotation.identity()
    first = turned(whole, still, -dense_centre(whole))
    first = turned(first, still, -dense_centre(first))
    off = turned(first, still, np.array([1.0, 0, 0]))
    classes = Classes.start([first, off], np.zeros((2, 3)))
    found = centred(classes, rotation_grid(1), settings.centring).averages
    return found[0] is first and np.linalg.norm(dense_centre(found[1])) < 0.3


def averages_are_laid_on_one_another(settings: SortingSettings, _: Any) -> bool:
    """To two degrees and a quarter of a voxel, however they lie; at a bounded cost."""
    grid = ball(settings.pairs.shift_step_px, settings.pairs.range_px)
    if settings.pairs.n_rotations * len(grid) > 1e6:
        return False
    pairs = AveragePairs(16, settings.pairs)
    volume = phantom("letter_l", 16, 16.0)
    errors = []
    for seed, shift in enumerate(np.array([[3.2, 1.0, -1.5], [-1.0, 2.5, 2.0]])):
        turn = Rotation.random(random_state=seed)
        found, at = pairs.pose_on(volume, turned(volume, turn, shift))
        errors.append(
            max(np.rad2deg((found * turn.inv()).magnitude()) / 3, 4 * abs(at - shift).max())
        )
    return max(errors) < 1


def verdicts_as_measured(settings: SortingSettings, _: Any) -> bool:
    """One structure in two clusters: -1.9 at the least; two that are much alike: -4.5."""
    merging = settings.merging
    one, two = (Verdict(z, 2 * merging.tested, np.zeros(0), merging) for z in (-1.9, -4.5))
    return bool(one.beyond(merging.one_z) >= 0 > two.beyond(merging.one_z))


def enough_are_tested(settings: SortingSettings, _: Any) -> bool:
    """Two large clusters whose members lose 0.3 of their scatter in a joint average are two."""
    merger = Merger.__new__(Merger)
    merger._settings, merger._steps = settings.merging, [None]  # type: ignore[list-item]
    merger._refine = lambda *_: None  # type: ignore[method-assign,assignment,return-value]
    tested = merger._cluster(np.arange(5000), np.zeros(0)).tested
    gains = np.random.default_rng(0).normal(-0.3, 1, (2, 5000))[:, tested]
    verdict = Verdict(_z([*gains], [5000, 5000]), gains.size, np.zeros(0), settings.merging)
    return bool(verdict.beyond(settings.merging.one_z) < 0 and len(tested) < 2000)


def rough_verdicts(settings: SortingSettings, _: Any) -> bool:
    """In coarse detail two that are alike fit one average as well: only what is better is one."""
    merging = settings.merging
    one, two = (Verdict(z, 800, np.zeros(0), merging) for z in (5.0, 0.0))
    return bool(one.beyond(merging.clearly_one_z) >= 0 > two.beyond(merging.clearly_one_z))


def what_is_in_doubt(settings: SortingSettings, _: Any) -> bool:
    """Where the limit is near, all is tried; two that are clearly two are spared it."""
    in_doubt = [Verdict(z, 800, np.zeros(0), settings.merging).in_doubt for z in (-4.5, -30.0, 0.5)]
    return in_doubt == [True, False, False]


def the_second_most_alike_is_compared(settings: SortingSettings, _: Any) -> bool:
    """But not everything with everything."""
    similar = np.full((9, 9), 0.1)
    similar[0, 1] = similar[1, 0] = similar[1, 2] = similar[2, 1] = 0.9
    similar[0, 2] = similar[2, 0] = 0.8
    similar[1, 3] = similar[2, 3] = 0.85
    alive: Any = dict.fromkeys(range(9))
    pairs = _candidates(alive, similar, settings.merging.neighbours)
    return (0, 2) in pairs and len(pairs) < 20


def what_may_be_split(settings: SortingSettings, _: Any) -> bool:
    """Neither a few, nor what could not be split but for some members; another cluster may."""
    sorter = SimpleNamespace(_whole=[np.arange(100)], _settings=settings)
    may = [
        AlignmentSorter._may_split(sorter, rows)  # type: ignore[arg-type]
        for rows in (
            np.arange(5, 105),
            np.arange(40, 140),
            np.arange(200, 208),
            np.arange(300, 340),
        )
    ]
    return may == [False, True, False, True]


@cache
def with_misfits(n: int, n_rare: int) -> Classes:
    rng = np.random.default_rng(2)
    fit = rng.normal(20, 4, n)
    fit[:n_rare] -= 12
    labels = rng.integers(0, 2, n)
    start = Classes.start([np.zeros(0)] * 2, np.zeros((n, 3)))
    return replace(start, labels=labels, log_likelihood=fit)


def misfits_hold_what_is_rare(settings: SortingSettings, _: Any) -> bool:
    """A tenth that fits badly is among them, and no more than as many others."""
    rows = with_misfits(1000, 100).misfits(settings.splitting.misfits)
    return bool((rows < 100).sum() > 80 and len(rows) < 250)


def a_band_is_rich_in_what_is_rare(settings: SortingSettings, _: Any) -> bool:
    """Of 5000 and 40 that are rare one band holds most, and is mostly these."""
    classes = with_misfits(5000, 40)
    bands = _worst(classes, -np.inf, np.random.default_rng(0), settings)
    return any((band < 40).sum() > 24 and (band < 40).mean() > 0.3 for band in bands)


def few_speak_for_a_cluster(settings: SortingSettings, _: Any) -> bool:
    """The mean gain of a large cluster is known to a tenth of what one member scatters by."""
    rows = np.arange(20_000)
    gain = np.random.default_rng(1).normal(size=len(rows))
    some = some_of(rows, settings.missed)
    return bool(abs(gain[some].mean()) < 0.1 and len(some) < 2000)


def a_start_holds_both(settings: SortingSettings, _: Any) -> bool:
    """Of two structures, three to one, mostly both are among the first references of a try."""
    splitting, rng = settings.splitting, np.random.default_rng(0)
    tries = [starts_of_tries(100, rng, splitting) for _ in range(400)]
    both = [any(0 < (own < 25).mean() < 1 for own in some) for some in tries]
    return bool(np.mean(both) > 0.7 and sum(map(len, tries[0])) <= 20)


class Fake:
    """A search in which references fit the better, the more good members there are."""

    def __init__(self, settings: SortingSettings) -> None:
        self.settings, self.begun = settings, []

    def iterate(self, mine: Any, first: Classes) -> Classes:
        good = np.array([average[0] for average in first.averages])
        self.begun.append(good)
        fit = np.full(len(mine), good.mean())
        return replace(first, log_likelihood=fit, labels=np.arange(len(mine)) % len(good))


class Rows(SimpleNamespace):
    """Subtomograms that are numbers."""

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rows: np.ndarray) -> Any:
        return begun_from(self.values[rows])


def begun_from(values: np.ndarray) -> Any:
    plain = SimpleNamespace(
        shift_phases=lambda offsets: 1.0, volumes=lambda values: values[:, None]
    )
    return Rows(values=values, coefficients=plain, offset_zyx_px=np.zeros((len(values), 3)))


def one_try_is_good(settings: SortingSettings, _: Any) -> bool:
    """Where two of five members are none, an average mostly begins as one that is."""
    begun, calls = [], 0
    some = settings.changed(first=settings.first.changed(fewest=1))
    for seed in range(60):
        rng, search = np.random.default_rng(seed), Fake(some)
        seen = begun_from((np.arange(50) < 30).astype(float))
        averages_of([search], seen, [np.arange(50)], rng)  # type: ignore[list-item,arg-type]
        begun.append(max(search.begun, key=lambda good: good.mean()).mean() > 0)
        calls += len(search.begun)
    return bool(np.mean(begun) > 0.8 and calls <= 10 * 60)


def all_structures_of_a_cluster_begin(settings: SortingSettings, _: Any) -> bool:
    """Of five in one known cluster all are mostly among its first references."""
    all_there, n_begun = [], []
    for seed in range(60):
        rng, search = np.random.default_rng(seed), Fake(settings)
        seen = begun_from(np.repeat(np.arange(5.0), 20))
        averages_of([search], seen, [np.arange(100)], rng)  # type: ignore[list-item,arg-type]
        all_there += [len(np.unique(begun)) == 5 for begun in search.begun]
        n_begun += [len(begun) for begun in search.begun]
    return bool(np.mean(all_there) > 0.75 and max(n_begun) <= 50)


def all_are_compared_now_and_then(settings: SortingSettings, _: Any) -> bool:
    """In two or three of six rounds; averages that are out of the question cost nothing else."""
    search, compared = tiny(settings), []
    seen, truth = particles(search, made(0.02).volumes), made(0.02).labels
    meet = search._meet

    def spied(*given: Any) -> Any:
        compared.append(given[-1] is None)
        return meet(*given)

    search._meet = spied  # type: ignore[method-assign]
    never = settings.rounds.model_copy(update={"stayed": -1.0})  # labels count as settled
    search.settings = settings.model_copy(update={"rounds": never})
    begun = replace(known(tiny(settings), seen, truth), labels=truth)
    search.iterate(seen, begun, rounds=6)
    return 1 < sum(compared) * 6 / len(compared) < 4


def sorting_goes_on_while_labels_change(settings: SortingSettings, _: Any) -> bool:
    """Among noise: where it ends, another round would change little."""
    search = tiny(settings)
    seen = particles(search, made(0.01).volumes)
    begun = singles(seen, np.array([0, 20, 1, 21]))
    found = search.iterate(seen, begun, rounds=20, prior="even")
    again = search.iterate(seen, found, rounds=1, prior="even")
    return bool(np.mean(found.labels != again.labels) < 0.1)


def clusters_of_some_members_stay(settings: SortingSettings, _: Any) -> bool:
    search = tiny(settings)
    rows = np.r_[0:20, 20:30]
    seen = particles(search, made(1.0).volumes[rows])
    found = search.iterate(seen, singles(seen, np.array([0, 20])), rounds=3, prior="even")
    return len(found.averages) == 2


def averages_hold_most_of_the_data(settings: SortingSettings, _: Any) -> bool:
    """More than two thirds without any part; and there are few parts to compute them for."""
    parts = _parts(np.arange(160) % 2, settings.rounds.parts)
    return max(map(len, parts)) < 160 / 3 and len(parts) <= 10


def what_may_yet_change_is_compared(settings: SortingSettings, _: Any) -> bool:
    """One in fifty may be right; one in a million costs time alone."""
    posterior = np.array([[0.5, 0.02, 1e-6], [0.5, 1e-6, 0.02]])
    start = Classes.start([np.zeros(0)] * 3, np.zeros((2, 3)))
    standing = Standing(
        replace(start, posterior=posterior),
        np.zeros((3, 1)),
        np.ones((3, 1)),
        np.zeros(3),
        np.zeros((2, 3)),
    )
    left = standing.without_clusters(np.array([0]), settings.rounds.likely).classes.posterior
    return bool((left == posterior[:, 1:]).all() and (left > settings.rounds.likely).sum() == 2)


def what_is_near_is_looked_at(settings: SortingSettings, _: Any) -> bool:
    """An average 6 below the best in coarse detail may win; one 60 below cannot."""
    search = tiny(settings)
    seen = particles(search, made(1.0).volumes[:6])
    slices = list(search.slices(list(seen.coefficients.volumes(seen.values[:3]))))
    fits = [
        Fit(np.full(6, likelihood), np.zeros(6, int), np.zeros((6, 3)))
        for likelihood in (0.0, -6.0, -60.0)
    ]
    found = finely(search, seen, slices, fits, Classes.start([np.zeros(0)] * 3, np.zeros((6, 3))))
    return bool((found.posterior[:, 1] > 0).any() and (found.posterior[:, 2] == 0).all())


def every_stage_has_some_rounds(settings: SortingSettings, _: Any) -> bool:
    """One cannot settle anything, and more than twenty are not needed: each is counted."""
    counted: list[int] = []

    def iterate(
        self: Search, seen: Any, classes: Classes, *, rounds: Any = None, prior: Any = ""
    ) -> Any:
        counted.append(rounds or self._rounds)
        n, k = len(seen), len(classes.averages)
        labels = (np.arange(n) + len(counted)) % k  # which never settle
        return replace(classes, labels=labels, posterior=np.eye(k)[labels])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Search, "iterate", iterate)
        patch.setattr(
            Merger,
            "merge",
            lambda self, members, averages, **_: [*zip(members, averages, strict=True)],
        )
        patch.setattr(Merger, "verdicts", lambda *_: {})
        few = settings.changed(
            coarse=settings.coarse.changed(n_rotations=20),
            fine=settings.fine.changed(n_rotations=20),
        )
        sorter = AlignmentSorter(noise(48), TILT, graded_wedge=False, settings=few)
        sorter.sort(np.arange(2), splits=1)
        sorter.judge_known(np.arange(48) % 2)
    return min(counted) > 1 and max(counted) <= 20 and len(counted) < 80


def rounds_over_all_are_some(settings: SortingSettings, _: Any) -> bool:
    """Labels that never settle are gone over more than once, and not for ever."""
    done: list[int] = []

    def again(standing: Any) -> Any:
        done.append(1)
        return SimpleNamespace(classes=SimpleNamespace(labels=1 - standing.classes.labels))

    begun: Any = SimpleNamespace(classes=SimpleNamespace(labels=np.arange(4) % 2))
    AllParticles.rounds(SimpleNamespace(settings=settings, _round=again), begun)  # type: ignore[arg-type]
    return 1 < len(done) <= 20


@cache
def shells(graded: bool, seed: int = 0) -> np.ndarray:
    strength = (TILTS_DEG / 60) ** 2
    fall_off = FallOff(0.5**strength, 0.4**strength) if graded else None
    return crowded_subtomograms(
        hollow_shell(), [], 60, 20, 13.0, 0.05, n_neighbours=(0, 0), fall_off=fall_off, seed=seed
    ).volumes


def a_fall_off_is_measured(settings: SortingSettings, _: Any) -> bool:
    found = measure_fall_off(shells(True), TILT, settings=settings.graded_wedge)
    if found is None:
        return False
    noise_at, signal_at = (np.interp((-55, 0, 55), TILTS_DEG, a) for a in found.as_array())
    right = 0.5 ** (55 / 60) ** 2, 0.4 ** (55 / 60) ** 2
    return bool(
        np.abs(noise_at - (right[0], 1, right[0])).max() < 0.12
        and np.abs(signal_at - (right[1], 1, right[1])).max() < 0.25
    )


def a_binary_wedge_stays(settings: SortingSettings, _: Any) -> bool:
    few = [
        measure_fall_off(shells(False)[:n], TILT, settings=settings.graded_wedge) for n in (25, 60)
    ]
    return few == [None, None]


def poses_on_a_reference(_: Any, settings: ToReferenceSettings) -> bool:
    """All of a structure without symmetry are found, to three degrees and half a voxel."""
    error_deg, off_px = laid(settings, "letter_l", 8, 0.2, 4.0)
    return bool(error_deg.max() < 3 and off_px.max() < 0.5)


def those_that_look_alike_turned_over(_: Any, settings: ToReferenceSettings) -> bool:
    """Of a structure that is nearly two-fold hardly any is half a turn off."""
    error_deg, _ = laid(settings, "nearly two-fold", 40, 0.3, 2.0)
    return bool((error_deg > 90).sum() < 3)


def laid(
    settings: ToReferenceSettings, name: str, n: int, snr: float, shift_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of rotations (degrees) and places (voxels) of subtomograms laid on their structure."""
    made = to_be_laid(name, n, snr, shift_px)
    found = align_to_reference(
        made.volumes,
        structures()[name].density(24, 13.0),
        TILT,
        first_step_deg=25,
        largest_shift_px=6,
        settings=settings,
    )
    error_deg = np.rad2deg((found.rotations * made.rotations.inv()).magnitude())
    return error_deg, np.linalg.norm(found.shifts_zyx_px - made.shifts_zyx_px, axis=1)


@cache
def structures() -> dict[str, Phantom]:
    half = np.array([[80.0, 10, 30], [30, 60, -50], [10, 40, 80]])  # x, y, z; turned about z
    at = np.array([*half, *(half * [-1, -1, 1]), [45, -20, 0]])
    size = np.array([35, 30, 25, 35, 30, 25, 25.0])
    return load_phantoms() | {"nearly two-fold": Phantom("nearly two-fold", "", at, at, size)}


@cache
def to_be_laid(name: str, n: int, snr: float, shift_px: float) -> Any:
    return simulate_subtomograms([structures()[name]], n, 24, 13.0, snr, TILT, shift_px, seed=1)


def structures_differ_in_the_box(settings: SortingSettings, _: Any) -> bool:
    """What tells two of one size apart is kept, and not much more."""
    few = settings.changed(
        coarse=settings.coarse.changed(n_rotations=2), fine=settings.fine.changed(n_rotations=2)
    )
    volumes = np.stack([phantom(name, 48, 6.0) for name in ("cross", "ring", "letter_l", "rod")])
    box_px = AlignmentSorter(volumes, TILT, graded_wedge=False, settings=few).box_px
    if box_px > 30:
        return False
    similar = AveragePairs(box_px).similarity(list(fourier_crop(volumes, box_px)))
    return bool(similar[~np.eye(4, dtype=bool)].max() < ALIKE)


ALIKE = 0.8


# -- the table: values far below and far above, and what must then go wrong ------------------------
# Where one value is given, the other side costs time alone, or nothing that a small case shows.

TABLE: dict[str, tuple[Case, tuple[Any, ...]]] = {
    "box_px": (structures_differ_in_the_box, (6, 48)),
    "coarse.radius": (a_level_finds_poses("coarse"), (1.5, 9.0)),
    "coarse.n_rotations": (a_level_finds_poses("coarse"), (30, 20_000)),
    "coarse.shift_step_px": (a_level_finds_poses("coarse"), (0.0, 6.0)),
    "fine.radius": (a_level_finds_poses("fine"), (1.5, 20.0)),
    "fine.n_rotations": (a_level_finds_poses("fine"), (50, 50_000)),
    "fine.shift_step_px": (a_level_finds_poses("fine"), (0.0, 5.0)),
    "wide.shift_step_px": (a_level_finds_poses("wide"), (0.2, 5.0)),
    "wide.range_px": (a_level_finds_poses("wide"), (1.0, 20.0)),
    "first.shift_step_px": (a_level_finds_poses("first"), (0.1, 6.0)),
    "wide.far": (what_is_near_is_looked_at, (1.0, 1e4)),
    "held_out": (held_out_coefficients_tell, (0.002, 0.995)),
    "first.signal": (a_single_draws_in_its_like, (0.005, 1.0)),
    "first.tries": (one_try_is_good, (1, 50)),
    "first.fewest": (all_structures_of_a_cluster_begin, (3, 90)),
    "coarse.rounds": (every_stage_has_some_rounds, (1, 200)),
    "first.rounds": (every_stage_has_some_rounds, (1, 200)),
    "first.judged_rounds": (every_stage_has_some_rounds, (1, 200)),
    "first.judged_looks": (every_stage_has_some_rounds, (60,)),
    "rounds.settling": (every_stage_has_some_rounds, (1, 200)),
    "rounds.after_second_look": (every_stage_has_some_rounds, (1, 200)),
    "splitting.rounds": (every_stage_has_some_rounds, (1, 200)),
    "splitting.balanced_coarse": (every_stage_has_some_rounds, (1, 200)),
    "splitting.balanced_fine": (every_stage_has_some_rounds, (1, 200)),
    "splitting.looks": (every_stage_has_some_rounds, (60,)),
    "rounds.over_all": (rounds_over_all_are_some, (1, 200)),
    "rounds.negligible": (poses_left_out_weigh_little, (0.2, 500.0)),
    "rounds.fewest_members": (clusters_of_some_members_stay, (200,)),
    "rounds.parts": (averages_hold_most_of_the_data, (2, 40)),
    "rounds.all_compared": (all_are_compared_now_and_then, (1, 100)),
    "rounds.stayed": (sorting_goes_on_while_labels_change, (0.9,)),
    "rounds.likely": (what_may_yet_change_is_compared, (1e-9, 0.3)),
    "reconstruction.sampling_floor": (poorly_sampled_places_are_held_back, (1e-5, 50.0)),
    "reconstruction.least_correlation": (halves_that_share_nothing_are_damped, (1e-7, 0.9)),
    "pairs.radius": (averages_are_laid_on_one_another, (1.2,)),
    "pairs.n_rotations": (averages_are_laid_on_one_another, (5, 200_000)),
    "pairs.shift_step_px": (averages_are_laid_on_one_another, (0.2, 6.0)),
    "pairs.range_px": (averages_are_laid_on_one_another, (0.5, 40.0)),
    "pairs.finer_px_deg": (averages_are_laid_on_one_another, (((0.8, 12.0),),)),
    "centring.window": (lies_in_the_middle, (0.1, 1.5)),
    "centring.smooth": (lies_in_the_middle, (0.4,)),
    "centring.near_px": (averages_near_the_centre_stay, (0.0, 4.0)),
    "merging.one_z": (verdicts_as_measured, (-9.0, 0.0)),
    "merging.clearly_one_z": (rough_verdicts, (-3.0, 9.0)),
    "merging.hopeless_z": (what_is_in_doubt, (-100.0, -1.0)),
    "merging.tested": (enough_are_tested, (4, 5000)),
    "merging.near_step_px": (a_level_finds_poses("near"), (0.0, 5.0)),
    "merging.neighbours": (the_second_most_alike_is_compared, (1, 8)),
    "splitting.starts": (a_start_holds_both, (2, 60)),
    "splitting.tries": (a_start_holds_both, (1, 30)),
    "splitting.fewest": (what_may_be_split, (3, 300)),
    "splitting.same": (what_may_be_split, (0.2, 0.99)),
    "splitting.misfits": (misfits_hold_what_is_rare, (0.02, 0.6)),
    "missed.bands": (a_band_is_rich_in_what_is_rare, ((5, 10), (5000,))),
    "missed.tested": (few_speak_for_a_cluster, (4, 20_000)),
    "noise.quantile": (noise_is_told_from_particles, (0.5,)),
    "noise.n_noise": (noise_is_told_from_particles, (2,)),
    "noise.least_fit": (a_cluster_of_noise_is_none, (-20.0, 100.0)),
    "graded_wedge.box_px": (a_fall_off_is_measured, (8,)),
    "graded_wedge.smallest_px": (a_fall_off_is_measured, (40,)),
    "graded_wedge.groups": (a_fall_off_is_measured, (100,)),
    "graded_wedge.fewest": (a_fall_off_is_measured, (500,)),
    "graded_wedge.clear": (a_fall_off_is_measured, (0.2,)),
    "graded_wedge.clear_z": (a_fall_off_is_measured, (50.0,)),
    "graded_wedge.clear_gain": (a_fall_off_is_measured, (900.0,)),
    "graded_wedge.smooth_bins": (a_fall_off_is_measured, (25.0,)),
    "graded_wedge.radius": (a_fall_off_is_measured, (1.2,)),
    "graded_wedge.least": (a_fall_off_is_measured, (0.8,)),
    "to_reference.box_px": (poses_on_a_reference, (6,)),
    "to_reference.radius": (poses_on_a_reference, (1.2,)),
    "to_reference.shift_step_px": (poses_on_a_reference, (10.0,)),
    "to_reference.leads": (those_that_look_alike_turned_over, (1,)),
    "to_reference.apart_deg": (those_that_look_alike_turned_over, (175.0,)),
    "to_reference.passes": (poses_on_a_reference, (1,)),
    "to_reference.turned": (poses_on_a_reference, (0.02,)),
    "to_reference.largest": (poses_on_a_reference, (0.1,)),
}

# What no case shows, and why.
NOT_SHOWN = {"missed.members": "a set with clusters of that many is too large for a test"}


CASES = [*dict.fromkeys(case for case, _ in TABLE.values())]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_all_is_right_as_it_is(case):
    assert case(SORTING, TO_REFERENCE)


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, (_, far) in TABLE.items() for v in far])
def test_it_goes_wrong_where_a_constant_moves_far(name, value):
    assert not TABLE[name][0](*moved(name, value))


def test_every_constant_is_in_the_table_or_is_said_not_to_be():
    assert {*TABLE} | {*NOT_SHOWN} == {*FIELDS} and not {*TABLE} & {*NOT_SHOWN}


def test_every_constant_says_what_it_does_and_what_is_known():
    for name, field in FIELDS.items():
        said = field.description, field.json_schema_extra["evidence"]
        assert all(text.rstrip().endswith(".") for text in said), name
        assert field.metadata, name  # bounds


# -- as settings -----------------------------------------------------------------------------------


def test_they_are_given_by_name_and_go_with_the_settings():
    settings = MineSettings(sorting={"merging": {"one_z": -2}})
    assert settings.constants.merging.one_z == -2
    assert settings.constants.fine == SORTING.fine and MineSettings().constants is SORTING
    again = MineSettings(**json.loads(json.dumps(settings.model_dump())))
    assert again == settings and again.constants == settings.constants
    assert "sorting" not in MineSettings().model_dump()  # as files of earlier versions
    assert settings.changed(seed=3).sorting == settings.sorting


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"merging": {"one_z": 1e9}}, "one_z = 1000000000.0 cannot be used"),
        ({"merging": {"two_z": 1}}, "two_z = 1 cannot be used"),
        ({"rounds": {"parts": 3}}, "parts = 3 cannot be used"),
        ({"box_px": 3}, "box_px = 3 cannot be used"),
        ({"held_out": float("nan")}, "held_out = nan cannot be used"),
    ],
)
def test_what_cannot_be_used_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        MineSettings(sorting=given)


def test_constants_are_written_down_where_they_are_given():
    assert "sorting" not in MineSettings().model_dump()
    assert "to_reference" not in AverageSettings().model_dump()
    given = AverageSettings(to_reference={"leads": 2})
    assert AverageSettings(**given.model_dump()) == given
    assert given.model_dump()["to_reference"] == {"leads": 2} and given.constants.leads == 2
    changed = MineSettings(sorting={"merging": {"one_z": -2}, "box_px": SORTING.box_px})
    assert changed.model_dump(mode="json")["sorting"] == {"merging": {"one_z": -2.0}}
    assert MineSettings(**changed.model_dump()) == changed.changed(seed=0)
    assert AverageSettings().constants == TO_REFERENCE


def test_the_command_line_takes_names_and_values():
    found = sorting_constants(["merging.one_z=-2", "merging.tested=50", "held_out=0.3"])
    changed = SORTING.changed(merging=SORTING.merging.changed(one_z=-2, tested=50), held_out=0.3)
    assert found == changed
    for wrong in ("merging.one_z", "merging.one_z=much", "box_px=8=9", "=3"):
        with pytest.raises(InputError):
            sorting_constants([wrong])
    for wrong in (["box_px=12", "box_px.edge=3"], ["merging.no=3"], ["fine=3"]):
        with pytest.raises(InputError):
            sorting_constants(wrong)


def test_a_checkpoint_of_other_constants_is_not_gone_on_with():
    class Volumes(SimpleNamespace):
        def __len__(self) -> int:
            return 3

    volumes: Any = Volumes(box_px=8, crc32=1)
    usual, other = (
        fingerprint(volumes, MineSettings(sorting=one)) for one in (None, {"box_px": 16})
    )
    assert usual != other


def test_a_run_records_them_and_is_not_resumed_with_others(tmp_path):
    store, out = tmp_path / "these.h5", tmp_path / "run"
    volumes = made().volumes
    nowhere = ParticleSet(np.full(len(volumes), "TS_1"), np.zeros((len(volumes), 3)))
    with StoreWriter.create(store, (BOX,) * 3, 24.0, TILT) as writer:
        writer.append(volumes, nowhere)
    settings = MINE.changed(candidate_k=(2,), sorting={"merging": {"one_z": -2}})
    folder = mine(store, out, settings)
    assert folder.record["settings"]["mine"]["sorting"]["merging"]["one_z"] == -2
    assert Bundle.load(folder.model).settings.constants == settings.constants
    with pytest.raises(InputError, match="other settings"):
        mine(store, out, MINE.changed(candidate_k=(2,)), resume=True)
    assert mine(store, out, settings, resume=True).record["settings"] == folder.record["settings"]


def test_the_estimator_takes_and_clones_them():
    disca = DISCA(sorting={"box_px": 16})  # type: ignore[arg-type]
    settings = clone(disca).settings
    assert settings == disca.settings and settings.constants == SORTING.changed(box_px=16)
    assert DISCA.from_settings(settings).settings == settings
