"""How many clusters, and in how many dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aitom_disca.clustering import criteria_for_k as c
from aitom_disca.clustering.fitting import MixtureFit, MixtureFitter, mean_and_variance, one_thread
from aitom_disca.clustering.gaussian_mixture_em import Fitted
from aitom_disca.clustering.merge_and_split_components import merge_closest, split_worst
from aitom_disca.clustering.mixture import GaussianMixtureModel
from aitom_disca.progress import step, track

# Numbers of leading principal components that are tried.
DIMENSIONS = (2, 3, 4, 6, 8, 10, 12, 16)


@dataclass(frozen=True)
class MixtureChoice:
    """The mixture that the criterion prefers.

    Parameters
    ----------
    mixture : GaussianMixtureModel
        In the first ``n_dimensions`` components of the samples.
    n_dimensions : int
    bic : dict of int to float
        BIC of every candidate K, in the chosen number of dimensions.
    criteria : dict of str to dict of int to float
        The value of every criterion (`criteria.CRITERIA`) for every candidate K for which it is
        defined, in the chosen number of dimensions.
    criterion : str
        The one that chose K.
    events : tuple of str
        What had to be repaired in the chosen mixture; mostly nothing.
    """

    mixture: GaussianMixtureModel
    n_dimensions: int
    bic: dict[int, float]
    criteria: dict[str, dict[int, float]] = field(default_factory=dict)
    criterion: str = "bic"
    events: tuple[str, ...] = ()


def choose_mixture(
    samples: np.ndarray,
    candidates: Sequence[int],
    *,
    criterion: c.Criterion = "bic",
    choose_dimensions: bool = False,
    labels: np.ndarray | None = None,
    n_starts: int = 5,
    reg_covar: float = 1e-6,
    seed: int = 0,
) -> MixtureChoice:
    """Fit a mixture for every candidate K and keep the one that a criterion prefers.

    With ``choose_dimensions`` the number of leading dimensions d is chosen as well, by the BIC
    (SI Eq. 4) of the best pair of K and d; the criterion then chooses K in d dimensions.
    Likelihoods in different numbers of dimensions cannot be compared, so every model describes all
    of the dimensions: the first d by the mixture, each of the others by one Gaussian of its own,
    whose BIC is added. The dimensions must then be uncorrelated, as principal components are.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_dimensions)
        Leading dimensions first.
    candidates : sequence of int
        Numbers of clusters to try.
    criterion : {"bic", "bic_si", "aic", "ch", "kl", "jump"}
        See `aitom_disca.clustering.criteria_for_k`. The last three choose among K of 2 and more,
        and the last two fit the neighbours of the candidates as well.
    choose_dimensions : bool
        Try several numbers of dimensions, else use all.
    labels : ndarray of int, shape (n_samples,), optional
        Previous clusters from 0: one more start for their own K.
    n_starts, reg_covar, seed
        As in `fit_mixture`.

    Raises
    ------
    ValueError
        If there are no candidates, one is larger than the number of samples, or the criterion is
        not known or defined for none of them.
    """
    if not candidates or max(candidates) > len(samples):
        raise ValueError(
            f"candidates must hold at least one K, none above the {len(samples)} samples; "
            f"got {list(candidates)}"
        )
    if criterion not in c.CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(c.CRITERIA)}; got {criterion!r}")
    candidates = sorted(set(candidates))
    fitter = MixtureFitter(
        samples, labels=labels, n_starts=n_starts, reg_covar=reg_covar, seed=seed
    )
    search = _Search(fitter, samples, reg_covar, seed)
    dimensions = [samples.shape[1]]
    if choose_dimensions:
        dimensions = [d for d in DIMENSIONS if d < samples.shape[1]] + dimensions
    with one_thread(), step("choosing the number of clusters"):
        n_dimensions = search.best_dimensions(candidates, dimensions)
        search.improve(_with_neighbours(candidates, criterion, len(samples)), n_dimensions)
        tables = search.tables(candidates, n_dimensions, criterion)
        k = c.best_k(tables[criterion], criterion)
        fit = search.fit(k, n_dimensions)
    return MixtureChoice(fit.mixture, n_dimensions, tables["bic"], tables, criterion, fit.events)


def estimate_k(
    features: np.ndarray,
    candidates: Sequence[int] = tuple(range(1, 13)),
    *,
    criterion: c.Criterion = "bic",
    n_starts: int = 5,
    reg_covar: float = 1e-6,
    seed: int = 0,
) -> int:
    """Estimate the number of clusters of features (n_samples, n_dimensions).

    `choose_mixture` does the same, takes more settings and returns the mixture and all criteria.
    """
    choice = choose_mixture(
        features,
        candidates,
        criterion=criterion,
        n_starts=n_starts,
        reg_covar=reg_covar,
        seed=seed,
    )
    return choice.mixture.n_components


def _with_neighbours(candidates: Sequence[int], criterion: c.Criterion, most: int) -> list[int]:
    """The candidates and the K beside them that the criterion needs."""
    steps = (0, *c.NEIGHBOURS.get(criterion, ()))
    return sorted({k + step for k in candidates for step in steps if 1 <= k + step <= most})


@dataclass
class _Search:
    """Mixtures by K and number of dimensions: fitted to the samples for starts, and to all."""

    fitter: MixtureFitter
    samples: np.ndarray
    reg_covar: float
    seed: int
    started: dict[tuple[int, int], Fitted] = field(default_factory=dict)
    finished: dict[tuple[int, int], MixtureFit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.variance = mean_and_variance(self.samples)[1]

    def start(self, k: int, d: int) -> Fitted:
        """The mixture of K components in d dimensions, of the samples for starts."""
        if (k, d) not in self.started:
            self.started[k, d] = self.fitter.start(k, d)
        return self.started[k, d]

    def fit(self, k: int, d: int) -> MixtureFit:
        """The mixture of K components in d dimensions."""
        if (k, d) not in self.finished:
            self.finished[k, d] = self.fitter.finish(self.start(k, d))
        return self.finished[k, d]

    def best_dimensions(self, candidates: Sequence[int], dimensions: Sequence[int]) -> int:
        """Number of dimensions of the pair with the lowest BIC; the smaller one on a tie."""
        if len(dimensions) == 1:
            return dimensions[0]
        pairs = [(k, d) for d in dimensions for k in candidates]
        return min(track(pairs, "mixtures"), key=lambda pair: self.information(*pair)["bic"])[1]

    def improve(self, ks: Sequence[int], d: int) -> None:
        """Let every K learn from its neighbours, where k-means starts led astray.

        From the largest K down, a mixture is also started from the one above with two components
        merged, then from the smallest K up from the one below with a component split.
        """
        for k in track(ks[::-1], "mixtures"):
            if k + 1 in ks:
                self._try(k, d, merge_closest(self.fitter.mixture(self.start(k + 1, d))))
        for k in track(ks, "better mixtures"):
            if k - 1 in ks:
                below, drawn = self.start(k - 1, d), self.fitter.drawn(k, d)
                more = split_worst(
                    self.fitter.mixture(below), drawn, reg_covar=self.reg_covar, seed=self.seed
                )
                if more is not None:
                    self._try(k, d, more)
        for k in track(ks, "all samples"):
            self.fit(k, d)

    def _try(self, k: int, d: int, start: GaussianMixtureModel) -> None:
        better = self.fitter.improve(self.start(k, d), start)
        if better is not self.started[k, d]:
            self.started[k, d] = better
            self.finished.pop((k, d), None)

    def information(self, k: int, d: int) -> dict[str, float]:
        """The criteria that are made of a likelihood; of all dimensions, d of them in the mixture.

        Each of the others is one Gaussian of two parameters.
        """
        n, rest = len(self.samples), self.variance[d:]
        total = self.fit(k, d).log_likelihood - n * (np.log(2 * np.pi * rest) + 1).sum() / 2
        usual = c.count_parameters(k, d) + 2 * len(rest)
        si = c.count_parameters_si(k, d) + 2 * len(rest)
        return {
            "bic": c.bic(total, usual, n),
            "bic_si": c.bic(total, si, n),
            "aic": c.aic(total, usual),
        }

    def tables(
        self, candidates: Sequence[int], d: int, criterion: c.Criterion
    ) -> dict[str, dict[int, float]]:
        """Every criterion for every candidate in d dimensions."""
        n = len(self.samples)
        values = {k: self.information(k, d) for k in candidates}
        tables = {name: {k: values[k][name] for k in values} for name in ("bic", "bic_si", "aic")}
        wanted = _with_neighbours(candidates, criterion, n)
        within = {k: self.fit(k, d).within for k in wanted if k > 1}
        within[1] = float(n * self.variance[:d].sum())
        tables["ch"] = c.calinski_harabasz(within, n)
        tables["kl"] = c.krzanowski_lai(within, d)
        tables["jump"] = c.jump(within, n, d)
        return {
            name: {k: v for k, v in table.items() if k in values} for name, table in tables.items()
        }
