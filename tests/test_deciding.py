"""What decides about clusters, on tiny inputs: every verdict beside loops over subtomograms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plain_expectation import plain_expect
from scipy.special import logsumexp, softmax

from aitom_disca.alignment import Particles
from aitom_disca.alignment.expectation import expect
from aitom_disca.alignment.search_grids import ball, cross, cube
from aitom_disca.classification import cluster_posterior, noise_clusters
from aitom_disca.classification.assign_others import Assigner, LearntAverages
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.cluster_posterior import held_out_gain, posterior_by_others
from aitom_disca.classification.detail_levels import Levels, Look, one_rotation, search_at
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.classification.noise_clusters import noise_limit, stands_out, without_noise
from aitom_disca.classification.shifts_by_class import Fit, finely, fitted, roughly, second_look
from aitom_disca.geometry.fall_off_with_tilt import TILTS_DEG, FallOff, weighed_by_tilt
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.subtomograms.preprocess import in_spheres

BOX, N, K = 9, 10, 3
ONE, TWO = (-60.0, 60.0), np.array([[-60.0, 60.0], [-40.0, 50.0]])


def search_of(radius: float, tilts=ONE, shifts=None, n_rotations: int = 25) -> Search:
    return Search(BOX, radius, tilts, n_rotations, cross(0.6) if shifts is None else shifts, 2)


class Case:
    """Ten subtomograms of noise with something of one of three averages, in two levels."""

    def __init__(self, rng: np.random.Generator, tilts=ONE) -> None:
        self.fine = search_of(3.5, tilts)
        self.wide = search_of(2.5, tilts).trying(ball(1.2, 1.7), 1)
        wedge = None if tilts is ONE else np.arange(N) % 2
        planted = 0.3 * rng.normal(size=(K, BOX, BOX, BOX))
        volumes = rng.normal(size=(N, BOX, BOX, BOX)) + planted[np.arange(N) % K]
        white = np.float32(27 / np.sqrt(2))  # amplitude of the noise
        self.averages = list(planted / white)
        offsets, half = rng.uniform(-1, 1, (N, 3)), np.arange(N) // 3 % 2
        self.particles, self.rough = (
            Particles(
                search.coefficients,
                search.coefficients.of(volumes, wedge) / white,
                offsets,
                half,
                wedge,
            )
            for search in (self.fine, self.wide)
        )
        self.classes = replace(
            Classes.start(self.averages, rng.uniform(-1, 1, (N, 3))),
            log_prior=np.log([0.5, 0.3, 0.2]),
            shell_weight=rng.uniform(0.5, 1, (K, BOX)),
            labels=np.arange(N) % K,
        )


@pytest.fixture(params=[ONE, TWO], ids=["one tilt range", "two"])
def case(request, rng) -> Case:
    return Case(rng, request.param)


def met_alone(search, particles, i, average, log_prior, offset, weight=None):
    """One subtomogram, one average: log likelihood, rotation and offset of the best pose."""
    one = particles.select(np.array([i])).moved(np.array([offset]))
    slices = search.slicer(average)[None]
    weight = None if weight is None else weight[None]
    found = plain_expect(
        one, slices, np.array([log_prior]), search.shifts_zyx_px, by_half=False, shell_weight=weight
    )
    return found.log_likelihood[0], found.rotation[0], found.offset_zyx_px[0]


# -- a second look -------------------------------------------------------------------------------


@pytest.mark.parametrize("weighed", [True, False])
def test_every_average_is_met_where_it_is_met_best(case, weighed) -> None:
    """From the offset that is known, and from the best one of a wide search round the centre."""
    classes, fine = case.classes, case.fine
    if not weighed:
        classes = replace(classes, shell_weight=None)
    found = second_look(fine, case.particles, case.wide, case.rough, classes)
    elsewhere = 0
    for i in range(N):
        fits = []
        for k, average in enumerate(case.averages):
            prior = classes.log_prior[k]
            _, _, there = met_alone(case.wide, case.rough, i, average, prior, np.zeros(3))
            weight = classes.shell_weight[k] if weighed else None
            two = [
                met_alone(fine, case.particles, i, average, prior, offset, weight)
                for offset in (classes.offset_zyx_px[i], there)
            ]
            elsewhere += two[1][0] > two[0][0]
            fits.append(max(two, key=lambda one: one[0]))
        likelihood = np.array([one[0] for one in fits])
        k = likelihood.argmax()
        assert found.labels[i] == k and found.rotation[i] == fits[k][1]
        np.testing.assert_allclose(found.offset_zyx_px[i], fits[k][2], atol=1e-6)
        np.testing.assert_allclose(found.posterior[i], softmax(likelihood), atol=1e-4)
        assert found.log_likelihood[i] == pytest.approx(logsumexp(likelihood), abs=1e-3)
    assert 0 < elsewhere < N * K


@pytest.mark.parametrize("weighed", [True, False])
def test_what_fits_far_worse_roughly_is_not_looked_at_again(case, weighed) -> None:
    classes, fine = case.classes, case.fine
    if not weighed:
        classes = replace(classes, shell_weight=None)
    in_coarse, in_fine = (one.slices(case.averages) for one in (case.wide, fine))
    fits = roughly(case.wide, case.rough, in_coarse, classes.log_prior)
    for k, fit in enumerate(fits):
        for i in range(N):
            alone = met_alone(
                case.wide, case.rough, i, case.averages[k], classes.log_prior[k], np.zeros(3)
            )
            assert fit.log_likelihood[i] == pytest.approx(alone[0], abs=1e-3)
            assert fit.rotation[i] == alone[1]
            np.testing.assert_allclose(fit.offset_zyx_px[i], alone[2], atol=1e-6)
    best = np.max([fit.log_likelihood for fit in fits], axis=0)
    far = np.arange(N) % 4 == 0  # are 16 below the best in the second average; others 14
    fits[1] = replace(fits[1], log_likelihood=np.where(far, best - 16, best - 14))
    fits[0] = replace(fits[0], log_likelihood=best)
    found = finely(fine, case.particles, in_fine, fits, classes)
    assert not found.posterior[far, 1].any() and (found.posterior[~far, 1] > 0).all()
    for i in range(N):
        likelihood = np.full(K, -np.inf)
        for k, fit in enumerate(fits):
            weight = classes.shell_weight[k] if weighed else None
            if k != 1 or not far[i]:
                alone = met_alone(
                    fine,
                    case.particles,
                    i,
                    case.averages[k],
                    classes.log_prior[k],
                    fit.offset_zyx_px[i],
                    weight,
                )
                likelihood[k] = alone[0]
                if found.labels[i] == k:
                    assert found.rotation[i] == alone[1]
                    np.testing.assert_allclose(found.offset_zyx_px[i], alone[2], atol=1e-6)
        np.testing.assert_allclose(found.posterior[i], softmax(likelihood), atol=1e-4)
        assert found.labels[i] == likelihood.argmax()


def test_the_better_of_two_fits_is_kept_for_each() -> None:
    one = Fit(np.array([1.0, 2, 3]), np.array([4, 5, 6]), np.zeros((3, 3)))
    other = Fit(np.array([2.0, 2, 1]), np.array([7, 8, 9]), np.ones((3, 3)))
    best = one.or_better(other)
    assert best.log_likelihood.tolist() == [2, 2, 3] and best.rotation.tolist() == [7, 5, 6]
    assert best.offset_zyx_px[:, 1].tolist() == [1, 0, 0]


def test_clusters_of_fits_follow_the_rule_of_bayes(rng) -> None:
    likelihood = rng.normal(0, 3, (K, N))
    fits = [Fit(likelihood[k], np.full(N, k), np.full((N, 3), float(k))) for k in range(K)]
    start = Classes.start([np.zeros((2, 2, 2))] * K, np.zeros((N, 3)))
    found = fitted(fits, start)
    np.testing.assert_array_equal(found.labels, likelihood.argmax(axis=0))
    np.testing.assert_array_equal(found.rotation, found.labels)
    np.testing.assert_array_equal(found.offset_zyx_px[:, 0], found.labels)
    np.testing.assert_allclose(found.posterior, softmax(likelihood.T, axis=1))
    np.testing.assert_allclose(found.log_likelihood, logsumexp(likelihood, axis=0))


# -- held-out coefficients -----------------------------------------------------------------------


def averages_of_halves(search, particles, classes) -> list[list[np.ndarray]]:
    found = plain_expect(
        particles.moved(classes.offset_zyx_px),
        search.slices(classes.averages),
        classes.log_prior,
        search.shifts_zyx_px,
    )
    counts = found.counts if particles.wedge is not None else found.counts[..., 0]
    return [
        search.averager.average(
            found.sums[:, k].astype(np.complex64), counts[:, k], with_halves=True
        ).halves
        for k in range(len(classes.averages))
    ]


@pytest.mark.parametrize("n_clusters", [1, 3])
def test_coefficients_held_out_are_asked_in_the_pose_that_the_others_choose(
    case, n_clusters
) -> None:
    search, particles = case.fine, case.particles
    labels = np.where(np.arange(N) == 4, -1, case.classes.labels % n_clusters)
    classes = replace(
        case.classes,
        averages=case.averages[:n_clusters],
        log_prior=np.log([0.5, 0.3, 0.2])[:n_clusters],
        labels=labels,
    )
    found = held_out_gain(search, particles, classes, np.random.default_rng(5))
    left_out = np.random.default_rng(5).random(len(search.coefficients)) < 0.2
    assert 0 < left_out.sum() < len(left_out) / 2
    halves = averages_of_halves(search, particles, classes)
    gains: list[list[float]] = [[] for _ in range(n_clusters)]
    for i in np.flatnonzero(labels >= 0):
        chosen, asked = [], []
        for k in range(n_clusters):
            (slices,) = search.slices([halves[k][1 - particles.half[i]]])
            one = particles.select(np.array([i])).moved(classes.offset_zyx_px[[i]])
            met = plain_expect(
                one, np.where(left_out, 0, slices)[None], np.zeros(1), search.shifts_zyx_px
            )
            chosen.append(met.log_likelihood[0] + classes.log_prior[k])
            moved = one.values[0] * search.coefficients.shift_phases(met.offset_zyx_px)[0]
            expected = slices[met.rotation[0]]
            seen = left_out if one.measured is None else left_out & one.measured[0]
            fit = (moved * expected.conj()).real - np.abs(expected) ** 2 / 2
            asked.append(fit[seen].sum())
        best = np.argsort(chosen)[::-1]
        other = asked[best[1]] if n_clusters > 1 else 0
        gains[best[0]].append(asked[best[0]] - other)
    assert sum(verdict.n_members for verdict in found) == N - 1
    for verdict, own in zip(found, gains, strict=True):
        assert verdict.n_members == len(own)
        if len(own) < 2:
            assert np.isnan([verdict.gain, verdict.z]).all()
        else:
            mean, error = np.mean(own), np.std(own, ddof=1) / np.sqrt(len(own))
            assert verdict.gain == pytest.approx(mean, abs=1e-3)
            assert verdict.z == pytest.approx(mean / error, abs=1e-2)


def test_one_member_says_nothing_and_two_do() -> None:
    chosen, asked = np.array([[0.0, 1], [1, 0], [3, 1]]), np.array([[1.0, 3], [4, 1], [7, 2]])
    one, other = cluster_posterior._of_clusters(chosen, asked)[::-1]
    assert one.n_members == 1 and np.isnan(one.gain) and np.isnan(one.z)
    assert (other.n_members, other.gain) == (2, 4)  # of 3 and 5
    assert other.z == pytest.approx(4)


def test_members_are_weighed_by_averages_of_the_other_half(case) -> None:
    classes = case.classes
    found = posterior_by_others(case.fine, case.particles, case.wide, case.rough, classes)
    halves = averages_of_halves(case.fine, case.particles, classes)
    for i in range(N):
        half, one = case.particles.half[i], np.array([i])
        others = replace(classes.select(one), averages=[pair[1 - half] for pair in halves])
        alone = second_look(
            case.fine, case.particles.select(one), case.wide, case.rough.select(one), others
        )
        np.testing.assert_allclose(found[i], alone.posterior[0], atol=1e-3)


# -- noise ---------------------------------------------------------------------------------------


def falls() -> FallOff:
    return FallOff(1 - (TILTS_DEG / 110) ** 2, np.exp(-np.abs(TILTS_DEG) / 150))


@pytest.mark.parametrize("mask_radius_px", [np.inf, 3.0])
@pytest.mark.parametrize("graded", [False, True])
def test_the_limit_is_what_one_of_a_hundred_fields_of_noise_exceeds(mask_radius_px, graded, rng):
    search = Search(BOX, 3.0, ONE, 12, cross(0.6), 1, fall_off=falls() if graded else None)
    averages = list(0.02 * rng.normal(size=(2, BOX, BOX, BOX)))
    classes = replace(Classes.start(averages, np.zeros((4, 3))), log_prior=np.log([0.7, 0.3]))
    found = noise_limit(search, classes, mask_radius_px, np.random.default_rng(3), None)
    volumes = np.random.default_rng(3).normal(size=(300, BOX, BOX, BOX)).astype(np.float32)
    if graded:
        volumes = weighed_by_tilt(volumes, falls().noise)
    values = search.coefficients.of(in_spheres(volumes, mask_radius_px))
    shell = search.coefficients.shell
    power = np.array([(np.abs(values[:, shell == s]) ** 2).mean() for s in range(1, 4)])
    values = values / np.sqrt(power / 2)[shell - 1]
    values *= np.sqrt(2 * len(shell)) / np.linalg.norm(values, axis=1, keepdims=True)
    mask = soft_sphere(BOX, mask_radius_px, 1.0, "gaussian")
    values *= np.sqrt((mask**2).mean())
    noise = Particles(search.coefficients, values, np.zeros((300, 3)), np.zeros(300, int))
    met = expect(noise, search.slices(averages), classes.log_prior, search.shifts_zyx_px)
    assert found == pytest.approx(np.quantile(met.log_likelihood, 0.99), abs=1e-2)
    assert met.log_likelihood.max() > found > np.quantile(met.log_likelihood, 0.98)


def test_noise_has_the_wedges_of_the_particles(case, monkeypatch) -> None:
    given = {}
    real = Look.particles

    def particles(self, search, volumes, half, offset=None, wedge=None):
        given["wedge"] = wedge
        return real(self, search, volumes, half, offset, wedge)

    monkeypatch.setattr(Look, "particles", particles)
    wedge = case.particles.wedge
    noise_limit(case.fine, case.classes, np.inf, np.random.default_rng(0), wedge)
    if wedge is None:
        assert given["wedge"] is None
    else:
        assert np.bincount(given["wedge"]).tolist() == [167, 133]  # of 300


def fit_of_strangers(search, members, average) -> float:
    """In averages of the half that each is no part of, from the members' offsets."""
    one = Classes.start([average], members.offset_zyx_px)
    (halves,) = averages_of_halves(search, members, one)
    found = expect(members, search.slices([average]), np.zeros(1), search.shifts_zyx_px)
    fits = [
        met_alone(search, members, i, halves[1 - members.half[i]], 0.0, found.offset_zyx_px[i])[0]
        for i in range(len(members))
    ]
    return float(np.mean(fits))


def test_a_cluster_stands_out_whose_members_fit_an_average_of_others(case) -> None:
    search, average = case.fine, case.averages[0]
    members = case.particles
    planted = 3 * search.slicer(average)[0] * (1 if members.measured is None else members.measured)
    seen = []
    for share in np.linspace(0, 10, 6):
        some = replace(members, values=(members.values + share * planted).astype(np.complex64))
        seen.append(fit_of_strangers(search, some, average) >= 0.5)
        for likelihood, limit, expected in (
            (np.full(N, 3.0), 2.9, seen[-1]),
            (np.full(N, 3.0), 3.0, False),
            (np.r_[np.full(6, 1.0), np.full(4, 9.0)], 2.0, False),  # the middle one counts
        ):
            assert stands_out(search, some, average, likelihood, limit) == expected
    assert len(set(seen)) == 2
    nobody = members.select(np.zeros(0, int))
    assert not stands_out(search, nobody, average, np.zeros(0), -np.inf)


def test_the_fit_of_strangers_is_that_of_each_alone(case) -> None:
    members, average = case.particles, case.averages[0]
    found = noise_clusters._fit_of_strangers(case.fine, members, average)
    assert found == pytest.approx(fit_of_strangers(case.fine, members, average), abs=1e-3)


@pytest.mark.parametrize("fit", [0.45, 0.55])
def test_half_a_log_likelihood_is_enough(case, monkeypatch, fit) -> None:
    monkeypatch.setattr(noise_clusters, "_fit_of_strangers", lambda *_: fit)
    assert noise_clusters.is_structure(case.fine, case.particles, case.averages[0]) == (fit > 0.5)


def test_noise_and_clusters_of_noise_are_labelled(case, monkeypatch) -> None:
    likelihood = np.array([5.0, 5, 5, 1, 5, 5, 5, 2, 5, 5])
    classes = replace(case.classes, log_likelihood=likelihood)
    asked = []

    def structure(search, members, average):
        asked.append((len(members), members.offset_zyx_px))
        return average is not case.averages[1]

    monkeypatch.setattr(noise_clusters, "noise_limit", lambda *_: 2.0)
    monkeypatch.setattr(noise_clusters, "is_structure", structure)
    rng = np.random.default_rng(0)
    found, limit = without_noise(case.fine, case.particles, classes, np.inf, rng)
    assert limit == 2.0
    # 3 and 7 lie below the limit, and the cluster of 1, 4 and 7 is no structure.
    assert found.labels.tolist() == [0, -1, 1, -1, -1, 1, 0, -1, 1, 0]
    assert [n for n, _ in asked] == [4, 3, 3]
    np.testing.assert_array_equal(asked[1][1], classes.offset_zyx_px[[1, 4, 7]])
    monkeypatch.setattr(noise_clusters, "noise_limit", lambda *_: 6.0)
    found, limit = without_noise(case.fine, case.particles, classes, np.inf, rng)
    assert found is classes and limit == -np.inf  # nothing stands out


# -- the look, and others that are sorted by what was learnt -------------------------------------


@pytest.mark.parametrize("tilts", [ONE, TWO], ids=["one tilt range", "two"])
@pytest.mark.parametrize("radius_px", [np.inf, 3.0])
def test_a_look_masks_whitens_and_counts_by_the_share_of_the_mask(tilts, radius_px, rng) -> None:
    search = search_of(3.0, tilts, n_rotations=4)
    volumes = rng.normal(size=(6, BOX, BOX, BOX)).astype(np.float32) + 1
    wedge = None if tilts is ONE else np.array([0, 1, 1, 0, 1, 0])
    look = Look.at(search, volumes, radius_px, wedge)
    c = search.coefficients
    measured = np.ones((6, len(c)), bool) if wedge is None else c.measured[wedge]
    seen = c.of(in_spheres(volumes, radius_px), wedge)
    for s in range(1, 4):
        here = measured & (c.shell == s)
        assert look.power[s] == pytest.approx((np.abs(seen[here]) ** 2).mean(), rel=1e-4)
    mask = np.ones((BOX,) * 3)
    if np.isfinite(radius_px):
        distance = np.linalg.norm(np.indices(mask.shape) - BOX // 2, axis=0)
        mask = np.exp(-(np.maximum(distance - radius_px, 0) ** 2) / 2)
    assert look.share == pytest.approx((mask**2).mean(), rel=1e-5)
    offsets, half = rng.uniform(-1, 1, (6, 3)), np.arange(6) % 2
    for given, laid in ((offsets, offsets), (None, np.zeros((6, 3)))):
        found = look.particles(search, volumes, half, given, wedge)
        values = (
            c.of(in_spheres(volumes, radius_px, laid), wedge) / np.sqrt(look.power / 2)[c.shell]
        )
        norm = np.linalg.norm(values, axis=1) / np.sqrt(2 * measured.sum(axis=1))
        expected = values / norm[:, None] * np.sqrt(look.share)
        np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(found.offset_zyx_px, laid)
        assert found.half is half and found.wedge is wedge


def test_a_level_of_detail_fits_into_its_box() -> None:
    level = (6.0, 5, cross(0.5), 7)
    large, small = search_at(level, 16, ONE), search_at(level, 8, ONE)
    assert large.coefficients.radius == 6 and small.coefficients.radius == 3
    assert len(large.rotations) == 5 and large.shifts_zyx_px is level[2] and large._rounds == 7
    assert one_rotation(level)[:2] == (6.0, 1) and one_rotation(level)[2:] == level[2:]
    other = large.trying(ball(1.0, 1.0), 2)
    assert len(other.shifts_zyx_px) == 7 and other._rounds == 2 and other.slicer is large.slicer
    assert large._rounds == 7


def test_the_levels_are_those_that_figures_were_measured_with() -> None:
    """Frequencies, rotations, shifts and rounds; a smaller box takes fewer frequencies."""
    levels, small = Levels.of(16, ONE, 3.0), Levels.of(9, ONE)
    for search, radius, n_rotations, shifts, rounds in (
        (levels.coarse, 5.0, 600, cross(1.25), 8),
        (levels.fine, 7.0, 1500, cross(0.8), 6),
        (levels.wide, 5.0, 600, ball(1.67, 3.8), 1),
        (levels.first, 5.0, 600, cube(1.67), 3),
        (small.coarse, 3.5, 600, cross(1.25), 8),
        (small.fine, 3.5, 1500, cross(0.8), 6),
    ):
        assert search.coefficients.radius == radius and len(search.rotations) == n_rotations
        np.testing.assert_array_equal(search.shifts_zyx_px, shifts)
        assert search._rounds == rounds
    assert levels.fine.averager._mask[0, 0, 0] < 0.01 and levels.wide.slicer is levels.coarse.slicer


@pytest.fixture(scope="module")
def learnt() -> LearntAverages:
    rng = np.random.default_rng(2)
    return LearntAverages(
        0.03 * rng.normal(size=(2, 8, 8, 8)),
        np.log([0.6, 0.4]),
        rng.uniform(300, 700, 4),
        noise_limit=2.0,
        tilt_range_deg=ONE,
        mask_radius_px=3.0,
        shell_weight=rng.uniform(0.5, 1, (2, 8)),
    )


def test_some_of_the_clusters_learnt(learnt) -> None:
    chosen = learnt.chosen(np.array([1]))
    np.testing.assert_array_equal(chosen.averages, learnt.averages[1:])
    assert chosen.log_prior == learnt.log_prior[1] and chosen.noise_limit == 2
    np.testing.assert_array_equal(chosen.shell_weight, learnt.shell_weight[1:])
    assert replace(learnt, shell_weight=None).chosen(np.array([0])).shell_weight is None


def test_others_are_sorted_by_a_second_look_and_a_limit(learnt, rng) -> None:
    volumes = rng.normal(size=(12, 8, 8, 8)).astype(np.float32)
    volumes[:6] += 60 * np.repeat(learnt.averages, 3, axis=0)
    assigner = Assigner(learnt)
    labels, posterior = assigner.assign(volumes)
    look = Look(8, 3.0, learnt.power)
    fine, wide = assigner._fine, assigner._wide
    assert len(fine.rotations) == 1500 and fine._rounds == 1
    rough, particles = (look.particles(s, volumes, np.zeros(12, int)) for s in (wide, fine))
    classes = replace(
        Classes.start(list(learnt.averages), np.zeros((12, 3))),
        log_prior=learnt.log_prior,
        shell_weight=learnt.shell_weight,
    )
    found = second_look(fine, particles, wide, rough, classes)
    np.testing.assert_allclose(posterior, found.posterior, atol=1e-6)
    limit = float(np.quantile(found.log_likelihood, 0.2))
    assert (labels == np.where(found.log_likelihood > 2, found.labels, -1)).all()
    some, _ = Assigner(replace(learnt, noise_limit=limit)).assign(volumes)
    assert (some == np.where(found.log_likelihood > limit, found.labels, -1)).all()
    assert len(set(some)) == 3
    round_ = Assigner(learnt, spherical=True)
    assert len(round_._fine.rotations) == len(round_._wide.rotations) == 1
    other = Assigner(learnt, (-40.0, 40.0))
    assert len(other._fine.coefficients) < len(fine.coefficients)


@pytest.mark.parametrize("own_spectrum", [False, True])
def test_poses_are_looked_for_everywhere_and_then_finely(learnt, rng, own_spectrum) -> None:
    volumes = rng.normal(size=(5, 8, 8, 8)).astype(np.float32)
    volumes[:4] += 60 * np.repeat(learnt.averages, 2, axis=0)
    assigner = Assigner(learnt)
    found = assigner.poses(volumes, own_spectrum=own_spectrum)
    fine, wide, half = assigner._fine, assigner._wide, np.zeros(5, int)
    look = Look.at(fine, volumes, 3.0) if own_spectrum else Look(8, 3.0, learnt.power)

    def met(search, particles) -> list:
        return [
            expect(particles, search.slices([a]), np.zeros(1), search.shifts_zyx_px, add_up=False)
            for a in learnt.averages
        ]

    def best_of(met, name) -> np.ndarray:
        joint = [m.log_likelihood + p for m, p in zip(met, learnt.log_prior, strict=True)]
        chosen = np.argmax(joint, axis=0)
        return np.array([getattr(met[k], name)[i] for i, k in enumerate(chosen)])

    offset = best_of(met(wide, look.particles(wide, volumes, half)), "offset_zyx_px")
    there = met(fine, look.particles(fine, volumes, half, offset))
    likelihood = np.stack([m.log_likelihood for m in there], axis=1)
    np.testing.assert_allclose(found.log_likelihood, likelihood, atol=1e-3)
    np.testing.assert_allclose(found.offset_zyx_px, best_of(there, "offset_zyx_px"), atol=1e-6)
    turned = fine.rotations[best_of(there, "rotation")]
    assert (found.rotation.inv() * turned).magnitude().max() < 1e-6
    joint = likelihood + learnt.log_prior
    np.testing.assert_array_equal(found.labels, joint.argmax(axis=1))
    np.testing.assert_allclose(found.posterior, softmax(joint, axis=1), atol=1e-4)
    np.testing.assert_allclose(found.score, logsumexp(joint, axis=1), atol=1e-3)
