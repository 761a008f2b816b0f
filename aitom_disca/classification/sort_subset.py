"""Sort subtomograms by maximum likelihood: which average, in which pose, explains each best.

Features of a network see size and compactness; alignment sees the structure itself.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.align_averages import AveragePairs
from aitom_disca.alignment.graded_wedge import measure_fall_off
from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.classification.centring import centred
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.cluster_posterior import HeldOut, held_out_gain, posterior_by_others
from aitom_disca.classification.coarse_and_fine import Seen, starts_of_tries, unwhitened
from aitom_disca.classification.detail_levels import Levels, Look
from aitom_disca.classification.expectation_maximisation import Prior
from aitom_disca.classification.first_references import averages_of, singles
from aitom_disca.classification.judge_known import Pair, judge_known
from aitom_disca.classification.merge_clusters import Merger, merged
from aitom_disca.classification.noise_clusters import without_noise
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.wedge import TiltRanges, common_tilt_range, distinct_tilt_ranges
from aitom_disca.progress import muted, say


class AlignmentSorter:
    """Maximum-likelihood classification, started from more references than there are structures.

    Every reference begins as one subtomogram. In each round every subtomogram is weighed against
    all references, rotations and shifts over the Fourier coefficients that it measured, and
    every reference becomes the average of all, so weighted, wedge compensated and filtered by
    what two halves of the data share. References that lose their members go. Two that are one
    structure are merged: when their members fit a joint average, made without them, as well as
    an average of their own. A cluster whose members can be sorted further is split.

    Parameters
    ----------
    volumes : ndarray of shape (n, z, y, x)
        Cubic, protein bright.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (n, 2)
        Of all subtomograms, or of each.
    mask_radius_px : float
        Of a soft sphere round each particle, in voxels of the volumes, outside of which nothing
        counts; infinite for none.
    box_share : float
        Edge of the volumes over that of the boxes that they were cropped from.
    graded_wedge : bool
        Whether noise and signal that clearly fall off with tilt are taken into account.
    seed : int
        Of the halves in which the data are split, and of the starts of splits.
    settings : SortingSettings

    Attributes
    ----------
    labels : ndarray of int, shape (n,)
        -1 where a subtomogram looks like noise.
    posterior : ndarray of shape (n, K)
        Probability of every cluster, by averages that the subtomogram has no part in.
    classes : Classes
        Averages (in whitened units), posteriors, offsets and so on of the last round.
    """

    def __init__(
        self,
        volumes: np.ndarray,
        tilt_range_deg: TiltRanges,
        *,
        mask_radius_px: float = np.inf,
        box_share: float = 1.0,
        graded_wedge: bool = True,
        seed: int = 0,
        settings: SortingSettings = SORTING,
    ) -> None:
        self._settings = settings
        self.box_px = min(settings.box_px, volumes.shape[-1])
        ranges, self._wedge = distinct_tilt_ranges(tilt_range_deg, len(volumes))
        self._tilt_range_deg = common_tilt_range(ranges)
        self._rng = np.random.default_rng(seed)
        self._pairs = AveragePairs(self.box_px, settings.pairs)
        self._box_share = box_share
        mask_radius_px *= self.box_px / volumes.shape[-1]
        self._volumes = fourier_crop(volumes, self.box_px)
        self._fall_off = None
        if graded_wedge:
            self._fall_off = measure_fall_off(
                self._volumes, tilt_range_deg, settings=settings.graded_wedge
            )
        self._levels = Levels.of(self.box_px, ranges, mask_radius_px, self._fall_off, settings)
        self._half = self._rng.permutation(len(volumes)) % 2
        self._look = Look.at(self._levels.fine, self._volumes, mask_radius_px, self._wedge)
        self._look_at(np.zeros((len(volumes), 3)))
        self._noise_limit = -np.inf
        self._whole: list[np.ndarray] = []  # clusters that could not be split
        self.labels = np.zeros(len(volumes), int)
        self.posterior = np.zeros((len(volumes), 0))

    def sort(
        self, starts: np.ndarray, *, fewest: int = 1, most: int = 1000, splits: int = 1
    ) -> np.ndarray:
        """Sort.

        Parameters
        ----------
        starts : ndarray of int, shape (K,)
            The subtomograms that the references begin as.
        fewest, most : int
            Numbers of clusters between which merging ends. There are fewer where references
            lost all members to others.
        splits : int
            How often, at most, structures that were missed are looked for.

        Returns
        -------
        ndarray of int, shape (n,)
            Labels from 0 without gaps, -1 for noise.
        """
        bounds = {"fewest": max(fewest, 1), "most": most}
        rough = self._seen.rough
        classes = self._levels.first.iterate(rough, singles(rough, starts, self._settings.first))
        return self._from(self._roughly(classes, **bounds), splits=splits, **bounds)

    def refine(
        self, labels: np.ndarray, *, fewest: int = 1, most: int = 1000, splits: int = 1
    ) -> np.ndarray:
        """Sort, from clusters that are known already: they may merge, split, empty and lose noise.

        Parameters
        ----------
        labels : ndarray of int, shape (n,)
            From 0; negative for subtomograms in no cluster, which may join one.
        fewest, most, splits : int
            As in `sort`.

        Returns
        -------
        ndarray of int, shape (n,)
            Labels from 0 without gaps, -1 for noise.
        """
        members = [np.flatnonzero(labels == k) for k in np.unique(labels[labels >= 0])]
        searches = [self._levels.first, self._levels.coarse]
        classes = averages_of(searches, self._seen.rough, members, self._rng)
        bounds = {"fewest": max(fewest, 1), "most": most}
        return self._from(self._roughly(classes, **bounds), splits=splits, **bounds)

    def _roughly(self, classes: Classes, *, fewest: int, most: int) -> Classes:
        """Sort in coarse detail and merge what is clearly one structure."""
        coarse = self._levels.coarse
        classes = coarse.iterate(self._seen.rough, classes)
        classes = self._centred(classes, coarse.rotations)
        merger = Merger(coarse, self._seen.rough.moved(classes.offset_zyx_px), self._pairs)
        least_z = self._settings.merging.clearly_one_z
        return merged(merger, classes, least_z=least_z, fewest=fewest, most=most)

    def _from(self, classes: Classes, *, fewest: int, most: int, splits: int) -> np.ndarray:
        bounds = {"fewest": fewest, "most": most}
        classes = self._settled(classes, "learnt", **bounds)
        for _ in range(splits):
            n_before = len(classes.averages)
            classes = self._settled(self._split(classes), "even", **bounds)
            new = any(self._may_split(rows) for rows in classes.members())
            if len(classes.averages) <= n_before and not new:
                break
        classes = self._seen.second_look(classes.with_learnt_prior())
        seen, levels = self._seen, self._levels
        self.classes, self._noise_limit = without_noise(
            levels.fine, seen.particles, classes, self._look.mask_radius_px, self._rng
        )
        self.labels = self.classes.labels
        self.posterior = posterior_by_others(
            levels.fine, seen.particles, levels.wide, seen.rough, self.classes
        )
        return self.labels

    def learnt(self) -> LearntAverages:
        """What others can be sorted by."""
        return LearntAverages(
            np.array(self.classes.averages),
            self.classes.log_prior,
            self._look.power,
            self._noise_limit,
            self._tilt_range_deg,
            self._look.mask_radius_px,
            self._box_share,
            None if self._fall_off is None else self._fall_off.as_array(),
            self.classes.shell_weight,
        )

    def averages(self) -> list[np.ndarray]:
        """Aligned average (z, y, x) of every cluster, no longer whitened, in the box used here."""
        return unwhitened(self._levels.fine, self.classes.averages, self._look.power)

    def held_out(self) -> list[HeldOut]:
        """What coefficients that had no part in the choice say of every cluster."""
        return held_out_gain(self._levels.fine, self._seen.particles, self.classes, self._rng)

    def judge_known(self, labels: np.ndarray) -> tuple[list[Pair], list[HeldOut]]:
        """Which clusters are one structure, and which are told from the others; nothing is sorted.

        Parameters
        ----------
        labels : ndarray of int, shape (n,)
            From 0 without gaps; negative for subtomograms in no cluster.
        """
        members = [np.flatnonzero(labels == k) for k in range(labels.max() + 1)]
        return judge_known(self._seen, members, self._rng)

    def _look_at(self, offset_zyx_px: np.ndarray) -> None:
        """See all subtomograms with the mask round where each particle lies."""
        rough, particles = (
            self._look.particles(search, self._volumes, self._half, offset_zyx_px, self._wedge)
            for search in (self._levels.coarse, self._levels.fine)
        )
        self._seen = Seen(self._levels, rough, particles, self._pairs)

    def _centred(self, classes: Classes, rotations: Rotation) -> Classes:
        """Averages in the centres of their boxes, and the masks where the particles lie.

        Picks are some voxels off, those of hollow particles the most, and a mask round the wrong
        place cuts away what would say so.
        """
        classes = centred(classes, rotations, self._settings.centring)
        self._look_at(classes.offset_zyx_px)
        return classes

    # -- clusters --------------------------------------------------------------------------

    def _settled(self, classes: Classes, prior: Prior, *, fewest: int, most: int) -> Classes:
        """Sort in detail and merge clusters that are one structure until none is left."""
        fine, settings = self._levels.fine, self._settings
        rounds, one_z = settings.rounds, settings.merging.one_z
        while True:
            n_before = len(classes.averages)
            classes = fine.iterate(
                self._seen.particles, classes, rounds=rounds.settling, prior=prior
            )
            before = classes.labels
            classes = self._centred(classes, fine.rotations)
            classes = self._seen.second_look(classes)
            if np.mean(before != classes.labels) > rounds.stayed:
                classes = fine.iterate(
                    self._seen.particles, classes, rounds=rounds.after_second_look, prior=prior
                )
            merger = self._seen.merger(classes.offset_zyx_px)
            classes = merged(merger, classes, least_z=one_z, fewest=fewest, most=most)
            if len(classes.averages) >= n_before:
                return classes

    def _split(self, classes: Classes) -> Classes:
        """Look for structures that were missed, in every cluster and in what fits none well."""
        members, settings = classes.members(), self._settings.splitting
        groups_of_rows = (*members, classes.misfits(settings.misfits))
        looked_at = [rows for rows in groups_of_rows if self._may_split(rows)]
        jobs = [(rows, starts_of_tries(len(rows), self._rng, settings)) for rows in looked_at]
        found = on_all_cores(
            lambda job: self._parts(classes, *job), jobs, "looking for missed structures"
        )
        parts = {id(rows): part for rows, part in zip(looked_at, found, strict=True)}
        groups: list[tuple[np.ndarray, np.ndarray]] = []
        for rows, average in zip(members, classes.averages, strict=True):
            own = parts.pop(id(rows), [])
            if len(own) > 1:
                say(f"split a cluster of {len(rows)} into {[len(part) for part, _ in own]}")
            else:
                self._whole.append(rows)
            groups += own if len(own) > 1 else [(rows, average)]
        for left in parts.values():
            groups += left
        return classes.regrouped(groups)

    def _may_split(self, rows: np.ndarray) -> bool:
        settings = self._settings.splitting
        known = any(_common(rows, whole) > settings.same for whole in self._whole)
        return len(rows) >= settings.fewest and not known

    def _parts(
        self, classes: Classes, rows: np.ndarray, tries: list[np.ndarray]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Structures, as rows and average, that are found among some subtomograms alone."""
        with muted():
            parts, _ = self._seen.select(rows).structures(classes.offset_zyx_px[rows], tries)
        return [(rows[part], average) for part, average in parts]


def _common(a: np.ndarray, b: np.ndarray) -> float:
    """Common members of two clusters, as a share of all members."""
    common = len(np.intersect1d(a, b))
    return common / (len(a) + len(b) - common)
