"""Rounds of expectation and maximisation, and first references, beside plain ones."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from plain_expectation import plain_expect

from aitom_disca.alignment import Particles
from aitom_disca.alignment.search_grids import cross
from aitom_disca.classification import coarse_and_fine
from aitom_disca.classification.classes import Classes, equal_detail
from aitom_disca.classification.coarse_and_fine import Seen, starts_of_tries, unwhitened
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.classification.first_references import averages_of, singles
from aitom_disca.config.sorting import SORTING

ONE, TWO = (-60.0, 60.0), np.array([[-60.0, 60.0], [-40.0, 50.0]])
BOX, N = 8, 18


def particles_of(search: Search, rng: np.random.Generator, averages) -> Particles:
    """Noise and an average each, whitened: of noise, an amplitude is 16 = sqrt(8^3 / 2)."""
    wedge = None if search.coefficients.measured is None else np.arange(N) % 3 % 2
    volumes = rng.normal(size=(N, BOX, BOX, BOX)) + averages[np.arange(N) % len(averages)]
    values = search.coefficients.of(volumes, wedge) / np.float32(16)
    return Particles(search.coefficients, values, np.zeros((N, 3)), np.arange(N) // 2 % 2, wedge)


def plain_rounds(search: Search, particles: Particles, classes: Classes, n: int, prior: str):
    """Every subtomogram by itself; the states after each round, and what was compared."""
    parts = np.empty(N, int)  # subtomograms of the first half are in parts 0 and 2, in turn
    for h in (0, 1):
        rows = np.flatnonzero(particles.half == h)
        parts[rows] = h + 2 * (np.arange(len(rows)) % 2)
    if prior == "even":
        classes = classes.with_even_prior()
    met = [classes.averages] * 4
    states = []
    for number in range(n):
        k = len(classes.averages)
        every = number % 3 == 0 or prior == "balanced"
        compared = np.ones((N, k), bool) if every else classes.posterior > 0
        compared[~compared.any(axis=1)] = True
        found = []
        for part in range(4):
            rows = np.flatnonzero(parts == part)
            mine = particles.select(rows).moved(classes.offset_zyx_px[rows])
            slices = np.stack([search.slicer(average) for average in met[part]])
            found.append(
                plain_expect(
                    mine,
                    slices,
                    classes.log_prior,
                    search.shifts_zyx_px,
                    by_half=False,
                    compared=compared[rows],
                    shell_weight=classes.shell_weight,
                )
            )
        fields = {}
        for name in ("posterior", "log_likelihood", "rotation", "offset_zyx_px"):
            values = np.empty((N, *getattr(found[0], name).shape[1:]))
            for part in range(4):
                values[parts == part] = getattr(found[part], name)
            fields[name] = values
        size = fields["posterior"].sum(axis=0)
        kept = [j for j in range(k) if prior == "balanced" or size[j] >= min(4, size.max())]
        made = []
        for j in kept:
            totals = [
                search.averager.inserted(
                    one.sums[0, j].astype(np.complex64),
                    one.counts[0, j] if particles.wedge is not None else one.counts[0, j, :, 0],
                )
                for one in found
            ]
            made.append(search.averager.without_each(totals))
        fields["posterior"] = fields["posterior"][:, kept]
        size = np.maximum(fields["posterior"].sum(axis=0), 1e-3)
        log_prior = np.log(size / size.sum())
        if prior == "even":
            log_prior = np.full(len(kept), -np.log(len(kept)))
        if prior == "balanced":
            log_prior = classes.log_prior[kept] - log_prior
        weight = None
        if prior != "learnt":
            weight = equal_detail(np.array([one.signal for one in made]), BOX)
        labels = fields["posterior"].argmax(axis=1)
        stayed = len(states) > 0 and np.mean(states[-1].labels != labels) <= 0.002
        stable = bool(stayed and np.bincount(labels, minlength=len(kept)).min() > 0)
        classes = Classes(
            [one.whole for one in made],
            log_prior,
            labels,
            fields["posterior"],
            fields["log_likelihood"],
            fields["rotation"].astype(int),
            fields["offset_zyx_px"],
            weight,
            stable,
        )
        met = [[one.others[part] for one in made] for part in range(4)]
        states.append(classes)
        if stable:
            break
    return states


def agree(found: Classes, plain: Classes) -> None:
    np.testing.assert_array_equal(found.labels, plain.labels)
    np.testing.assert_allclose(found.posterior, plain.posterior, atol=1e-3)
    np.testing.assert_allclose(found.log_prior, plain.log_prior, atol=1e-3)
    np.testing.assert_allclose(found.log_likelihood, plain.log_likelihood, atol=1e-2)
    np.testing.assert_array_equal(found.rotation, plain.rotation)
    np.testing.assert_allclose(found.offset_zyx_px, plain.offset_zyx_px, atol=1e-6)
    for one, other in zip(found.averages, plain.averages, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3 * np.abs(other).max())
    assert (found.shell_weight is None) == (plain.shell_weight is None)
    if plain.shell_weight is not None:
        np.testing.assert_allclose(found.shell_weight, plain.shell_weight, atol=1e-3)
    assert found.stable == plain.stable


@pytest.mark.parametrize("tilts", [ONE, TWO], ids=["one tilt range", "two"])
@pytest.mark.parametrize("prior", ["learnt", "even", "balanced"])
def test_rounds_are_those_of_one_subtomogram_after_the_other(tilts, prior, rng) -> None:
    search = Search(BOX, 3.0, tilts, 20, cross(0.6), 4)
    averages = 0.5 * rng.normal(size=(3, BOX, BOX, BOX))
    particles = particles_of(search, rng, averages[:2])
    start = replace(
        Classes.start(list(averages / 16), rng.uniform(-0.5, 0.5, (N, 3))),
        log_prior=np.log([0.5, 0.3, 0.2]),
    )
    states = plain_rounds(search, particles, start, 4, prior)
    for n in (1, 2, len(states)):
        agree(search.iterate(particles, start, rounds=n, prior=prior), states[n - 1])
    if len(states) == 4:  # as many as the search has
        agree(search.iterate(particles, start, prior=prior), states[3])


def test_rounds_end_where_labels_stay(rng) -> None:
    search = Search(BOX, 3.0, ONE, 20, np.zeros((1, 3)), 9)
    averages = 1.5 * rng.normal(size=(2, BOX, BOX, BOX))
    particles = particles_of(search, rng, averages)
    start = Classes.start(list(averages / 16), np.zeros((N, 3)))
    states = plain_rounds(search, particles, start, 9, "learnt")
    assert states[-1].stable and 2 <= len(states) < 9
    agree(search.iterate(particles, start), states[-1])


# -- first references ----------------------------------------------------------------------------


def test_a_single_subtomogram_is_a_faint_reference_in_the_box_centre(rng) -> None:
    search = Search(BOX, 3.0, ONE, 2, np.zeros((1, 3)), 1)
    volumes = rng.normal(size=(3, BOX, BOX, BOX))
    moved = np.stack([np.roll(v, (1, -1, 2), (0, 1, 2)) for v in volumes])
    values = search.coefficients.of(moved)
    offsets = np.array([[1.0, -1, 2]] * 3)
    particles = Particles(search.coefficients, values, offsets, np.zeros(3, int))
    found = singles(particles, np.array([2, 0]))
    still = search.coefficients.volumes(search.coefficients.of(volumes))
    np.testing.assert_allclose(found.averages, 0.4 * still[[2, 0]], atol=1e-4)
    np.testing.assert_array_equal(found.offset_zyx_px, offsets)


class Script:
    """A search that keeps what it is given, and whose likelihood is told."""

    settings = SORTING

    def __init__(self, name: str) -> None:
        self.name, self.given = name, []

    def iterate(self, particles, classes, **_):
        self.given.append(classes)
        n, k = len(particles), len(classes.averages)
        return replace(
            classes,
            labels=np.arange(n) % k,
            # The fewer of the first rows it began as, the likelier.
            log_likelihood=np.full(n, float(np.mean(classes.averages))),
            offset_zyx_px=particles.values.real[:, :1] * np.ones(3),
        )


def test_large_clusters_begin_as_several_members_and_the_likeliest_try_goes_on(monkeypatch) -> None:
    """Fifteen references are shared out by size; each cluster has one at least."""
    search = Search(4, 1.0, ONE, 1, np.zeros((1, 3)), 1)
    n = 61
    values = np.arange(n)[:, None] * np.ones(len(search.coefficients), np.complex64)
    particles = Particles(search.coefficients, values, np.zeros((n, 3)), np.zeros(n, int))
    monkeypatch.setattr(type(search.coefficients), "volumes", lambda self, v: v.real[:, :1, None])
    members = [np.arange(0, 40), np.arange(40, 60), np.array([60])]
    wide, fine = Script("wide"), Script("fine")
    found = averages_of([wide, fine], particles, members, np.random.default_rng(0))
    n_references = [10, 5, 1]  # of 15, by 40, 20 and 1 of 61
    assert sorted(len(one.averages) for one in wide.given) == [1] * 3 + [5] * 3 + [10] * 3
    assert sorted(len(one.averages) for one in fine.given) == [1, 5, 10]
    for given in fine.given:
        tries = [one for one in wide.given if len(one.averages) == len(given.averages)]
        assert np.mean(given.averages) == max(np.mean(one.averages) for one in tries)
        assert len({float(np.mean(one.averages)) for one in tries}) in (1, 3)
    assert len(found.averages) == 16
    first = 0
    for rows, k in zip(members, n_references, strict=True):
        np.testing.assert_array_equal(found.labels[rows], first + np.arange(len(rows)) % k)
        first += k
    np.testing.assert_array_equal(found.offset_zyx_px[:, 1], np.arange(n))


# -- coarse and fine -----------------------------------------------------------------------------


def test_starts_of_tries_are_other_members_each() -> None:
    tries = starts_of_tries(9, np.random.default_rng(1), SORTING.splitting)
    assert [len(set(one.tolist())) for one in tries] == [3, 3]
    assert all(0 <= one.min() and one.max() < 9 for one in tries)
    assert set(tries[0]) != set(tries[1])


def test_unwhitened_averages_have_the_spectrum_of_the_look(rng) -> None:
    search = Search(BOX, 3.0, ONE, 2, np.zeros((1, 3)), 1)
    averages, power = list(rng.normal(size=(2, BOX, BOX, BOX))), np.array([50.0, 4, 9, 1])
    found = unwhitened(search, averages, power)
    shell = np.round(np.linalg.norm(np.indices((BOX,) * 3) - BOX // 2, axis=0)).astype(int)
    amplitude = np.where(shell < 4, np.sqrt(power / 9)[np.minimum(shell, 3)], 0)
    for one, average in zip(found, averages, strict=True):
        spectrum = np.fft.fftn(np.fft.ifftshift(average))
        expected = np.fft.ifftn(spectrum * np.fft.ifftshift(amplitude)).real
        np.testing.assert_allclose(one, np.fft.fftshift(expected), atol=1e-5)


class Scripted:
    """Keeps what rounds are asked for; labels are as told, one after the other."""

    def __init__(self, name: str, said: list, labels=()) -> None:
        self.name, self.said, self.labels = name, said, list(labels)
        self.rotations = "grid of " + name

    def iterate(self, particles, classes, *, rounds=None, prior="learnt"):
        self.said.append((self.name, rounds, prior, particles))
        likelihood = classes.log_likelihood + float(classes.averages[0].sum())
        labels = self.labels.pop(0) if self.labels else classes.labels
        return replace(classes, labels=labels, log_likelihood=likelihood)


def small(name: float, n: int = 6) -> np.ndarray:
    return np.full((2, 2, 2), name)


@pytest.mark.parametrize("stays", [True, False])
def test_structures_are_looked_for_from_the_likeliest_of_several_tries(monkeypatch, stays) -> None:
    n, said = 500, []
    before = np.arange(n) % 2
    after = before.copy()
    after[:1] = 1 - after[:1]  # 0.002 of the labels moved
    if not stays:
        after[:2] = 1 - before[:2]
    coarse, fine = Scripted("coarse", said), Scripted("fine", said)
    offsets, tries = np.ones((n, 3)), [np.array([3, 1, 2]), np.array([4, 5, 6])]
    particles = SimpleNamespace(moved=lambda offset: ("moved", offset))
    levels = SimpleNamespace(coarse=coarse, fine=fine, wide="wide", settings=SORTING)

    def begun(at, starts, settings):
        assert at == ("moved", offsets)
        average = small(0.1 * starts[0])
        return replace(Classes.start([average] * 2, np.zeros((n, 3))), labels=before)

    merged = []

    class Merged:
        def merge(self, members, averages, *, least_z):
            merged.append((members, averages, least_z))
            return "groups"

    monkeypatch.setattr(coarse_and_fine, "singles", begun)
    monkeypatch.setattr(
        coarse_and_fine, "centred", lambda one, grid, how: (said.append(("centred", grid)), one)[1]
    )

    def looked(*given):
        said.append(("second look",))
        odd = said.count(said[-1]) % 2
        return replace(given[-1], labels=after if odd else before)

    monkeypatch.setattr(coarse_and_fine, "second_look", looked)
    monkeypatch.setattr(Seen, "merger", lambda self, offset: Merged())
    seen = Seen(levels, "rough", particles, "pairs")
    groups, where = seen.structures(offsets, tries)
    assert groups == "groups" and where.shape == (n, 3)
    one_try = [
        ("coarse", 6, "balanced", "rough"),
        ("fine", 3, "balanced", particles),
        ("fine", 4, "even", particles),
    ]
    look = [("fine", 4, "even", particles), ("centred", "grid of fine"), ("second look",)]
    assert said == one_try * 2 + look * (1 if stays else 2)
    ((members, averages, least_z),) = merged
    assert averages[0][0, 0, 0] == pytest.approx(0.4) and least_z == -3.0
    np.testing.assert_array_equal(members[0], np.flatnonzero((after if stays else before) == 0))


def test_clusters_are_compared_where_they_lie_in_both_levels(rng) -> None:
    search = Search(4, 1.0, ONE, 1, np.zeros((1, 3)), 1)
    rough, particles = (
        Particles(search.coefficients, np.full((5, 1), name), np.zeros((5, 3)), np.arange(5) % 2)
        for name in (1, 2)
    )
    fine = SimpleNamespace(settings=SORTING)
    seen = Seen(SimpleNamespace(coarse="coarse", fine=fine), rough, particles, "pairs")
    some = seen.select(np.array([3, 0]))
    assert len(some) == 2 and some.rough.half.tolist() == some.particles.half.tolist() == [1, 0]
    first, near, last = seen.merger(np.ones((5, 3)))._steps
    assert (first.search, near.search, last.search) == ("coarse", fine, fine)
    for step, name in ((first, 1), (near, 2), (last, 2)):
        assert (step.particles.values == name).all()
        assert (step.particles.offset_zyx_px == 1).all()
    assert len(first.shifts_zyx_px) > 27 and len(near.shifts_zyx_px) == 7
