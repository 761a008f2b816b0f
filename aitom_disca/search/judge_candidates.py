"""Judge candidates against averages, bring each to its place, leave out what was found twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.classification.assign_others import Assigner, Poses
from aitom_disca.computing.parallel import in_tasks
from aitom_disca.geometry.fall_off_with_tilt import weighed_by_tilt
from aitom_disca.geometry.rotations import euler_zyz_deg_from_rotation
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.particles import UNASSIGNED, ParticleSet, TomogramInfo, concatenate
from aitom_disca.picking import without_duplicates
from aitom_disca.progress import say, track
from aitom_disca.search.candidates import candidates_in, cut_boxes
from aitom_disca.search.false_positives import (
    noise_boxes,
    particle_probability,
    q_values,
    q_values_of_bulk,
    without_structure,
)
from aitom_disca.search.references import References
from aitom_disca.subtomograms.preprocess import is_constant, normalise

_AT_ONCE = 200
_APART_DIAMETERS = 0.5
_NOISE_QUANTILE = 0.99  # of pure noise, which what stands out from the bulk exceeds as well


@dataclass(frozen=True)
class Judged:
    """Places that met the averages and the globules.

    Parameters
    ----------
    particles : ParticleSet
        At the places found, with angles; ``score`` is the log likelihood ratio of all averages
        together to noise, ``cluster`` the best average, ``posterior`` its probability among all.
    null_score : ndarray of shape (n,)
        Log likelihood ratio of all globules together to noise.
    """

    particles: ParticleSet
    null_score: np.ndarray

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def score(self) -> np.ndarray:
        """Log likelihood ratio of the averages to noise, shape (n,)."""
        return np.zeros(0) if self.particles.score is None else self.particles.score

    def select(self, rows: np.ndarray) -> Judged:
        """Some of them, in that order."""
        return Judged(self.particles.select(rows), self.null_score[rows])


@dataclass(frozen=True)
class Found:
    """What a search found.

    Parameters
    ----------
    particles : ParticleSet
        Best first in every tomogram; ``posterior`` is the probability that it is a particle, and
        of that cluster.
    q_value : ndarray of shape (n,)
        False-discovery rate among all that are at least as good.
    noise : ParticleSet
        Candidates that were not accepted.
    """

    particles: ParticleSet
    q_value: np.ndarray
    noise: ParticleSet


def nobody(tomograms: Mapping[str, TomogramInfo] | None = None) -> ParticleSet:
    """No particles, with all columns that a search fills."""
    none = np.zeros(0)
    return ParticleSet(
        none.astype(str),
        np.zeros((0, 3)),
        score=none,
        euler_zyz_deg=np.zeros((0, 3)),
        cluster=none.astype(int),
        posterior=none,
        tomograms=tomograms or {},
    )


def search(
    tomograms: Sequence[Tomogram],
    references: References,
    particle_diameter_angstrom: float,
    *,
    fdr: float = 0.1,
    any_kind: bool = False,
    border_px: int = 0,
    centers_zyx_px: Sequence[np.ndarray] | None = None,
    executor: Executor | None = None,
) -> Found:
    """Find the particles of known averages.

    Parameters
    ----------
    tomograms : sequence of Tomogram
    references : References
    particle_diameter_angstrom : float
    fdr : float
        So many of those that are accepted may be none, 0 to 1.
    any_kind : bool
        Whether particles count that stand out but may be of a kind without an average of its own.
    border_px : int
        Particles lie at least this far from the faces.
    centers_zyx_px : sequence of ndarrays of shape (n, 3), optional
        Candidates of each tomogram; those of `candidates_of`, unless given.
    executor : Executor, optional
        Searches tomograms as its tasks.

    Returns
    -------
    Found
    """
    if not references.trusted:
        say("no average stands out from noise: nothing is searched")
        return Found(nobody(), np.zeros(0), nobody())
    diameter = particle_diameter_angstrom
    if centers_zyx_px is None:
        centers_zyx_px = candidates_in(tomograms, diameter, border_px, executor=executor)
    tasks = list(zip(tomograms, centers_zyx_px, strict=True))
    judge = partial(_judged, references=references, diameter=diameter, border_px=border_px)
    judged, noise = zip(*in_tasks(judge, tasks, executor, "searching"), strict=True)
    particles = concatenate([one.particles for one in judged])
    everything = Judged(particles, np.concatenate([one.null_score for one in judged]))
    return accepted(everything, np.concatenate(noise), fdr, any_kind=any_kind)


def _judged(
    task: tuple[Tomogram, np.ndarray], references: References, diameter: float, border_px: int
) -> tuple[Judged, np.ndarray]:
    """What is found at the places of a tomogram, and what the averages say of pure noise there."""
    tomogram, centers = task
    judge = Judge(references, tomogram.tilt_range_deg)
    inside = _within(judge(tomogram, centers), tomogram, border_px)
    return _apart(inside, diameter), judge.noise_score()


def accepted(
    judged: Judged, noise_score: np.ndarray, fdr: float, *, any_kind: bool = False
) -> Found:
    """Candidates that pass at a false-discovery rate, and those that do not.

    Parameters
    ----------
    judged : Judged
        No two of them in one place.
    noise_score : ndarray of shape (m,)
        Log likelihood of the averages for pure noise.
    fdr : float
        0 to 1.
    any_kind : bool
        As in `search`.
    """
    particles, score, null = judged.particles, judged.score, judged.null_score
    q = q_values(score, null, noise_score)
    if any_kind:
        above_noise = score > np.quantile(noise_score, _NOISE_QUANTILE)
        q = np.minimum(q, np.where(above_noise, q_values_of_bulk(score), 1.0))
    posterior = particle_probability(score, null, noise_score)
    if particles.posterior is not None:
        posterior = posterior * particles.posterior
    particles = replace(particles, posterior=posterior)
    passes = q <= fdr
    noise = particles.select(~passes)
    noise = noise.with_clusters(np.full(len(noise), UNASSIGNED), noise.posterior)
    return Found(particles.select(passes), q[passes], noise)


def _within(judged: Judged, tomogram: Tomogram, border_px: int) -> Judged:
    """Without those that moved out of the tomogram, or nearer to its faces than they may lie."""
    place = judged.particles.center_zyx_px
    last = np.array(tomogram.shape_zyx) - 1
    inside = (place >= border_px) & (place <= last - border_px)
    return judged.select(np.flatnonzero(inside.all(axis=1)))


def _apart(judged: Judged, particle_diameter_angstrom: float) -> Judged:
    """Of those nearer to one another than half a diameter the likeliest, best first."""
    order = np.argsort(-judged.score, kind="stable")
    judged = judged.select(order)
    apart = _APART_DIAMETERS * particle_diameter_angstrom
    return judged.select(np.flatnonzero(without_duplicates(judged.particles, apart)))


class Judge:
    """Weighs places of a tomogram against averages, and against globules without structure.

    Parameters
    ----------
    references : References
    tilt_range_deg : tuple of 2 floats
        Of the tomogram.
    """

    def __init__(self, references: References, tilt_range_deg: tuple[float, float]) -> None:
        learnt = references.learnt
        self._box_angstrom, self._fall_off = references.box_angstrom, learnt.fall_off
        settings = references.sorting
        self._averages = Assigner(learnt, tilt_range_deg, settings=settings)
        self._globules = Assigner(
            without_structure(learnt), tilt_range_deg, spherical=True, settings=settings
        )

    def __call__(self, tomogram: Tomogram, center_zyx_px: np.ndarray) -> Judged:
        """Move every place to where an average fits it best, over rotations and shifts.

        Parameters
        ----------
        tomogram : Tomogram
        center_zyx_px : ndarray of shape (n, 3)

        Returns
        -------
        Judged
            Places that hold one value only are left out.
        """
        cut_px = round(self._box_angstrom / tomogram.voxel_size_angstrom)
        step_px = cut_px / self._averages.box_px
        centers, poses, null = [np.zeros((0, 3))], [], [np.zeros(0)]
        for nearest, boxes in _boxes(tomogram, center_zyx_px, cut_px):
            boxes = normalise(boxes)
            poses.append(self._averages.poses(boxes))
            null.append(self._globules.poses(boxes).score)
            centers.append(nearest + step_px * poses[-1].offset_zyx_px)
        return Judged(_particles(tomogram, np.concatenate(centers), poses), np.concatenate(null))

    def noise_score(self) -> np.ndarray:
        """Log likelihood of the averages for boxes of pure noise, aligned in the same way."""
        boxes = noise_boxes(self._averages.box_px)
        if self._fall_off is not None:
            boxes = weighed_by_tilt(boxes, self._fall_off[0])
        return self._averages.poses(boxes, own_spectrum=True).score


def _boxes(
    tomogram: Tomogram, center_zyx_px: np.ndarray, cut_px: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of places, in whole voxels, and boxes round them, constant ones left out."""
    nearest = np.floor(center_zyx_px + 0.5)
    pieces = np.split(nearest, range(_AT_ONCE, len(nearest), _AT_ONCE))
    for piece in track(pieces, f"searching {tomogram.name}"):
        boxes = cut_boxes(tomogram, piece, cut_px)
        varied = ~is_constant(boxes)
        if varied.any():
            yield piece[varied], boxes[varied]


def _particles(tomogram: Tomogram, centers: np.ndarray, poses: list[Poses]) -> ParticleSet:
    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(p, name) for p in poses])

    tomograms = {tomogram.name: tomogram.info}
    if not poses:
        return nobody(tomograms)
    labels, posterior = joined("labels"), joined("posterior")
    turns = Rotation.from_quat(np.concatenate([p.rotation.as_quat() for p in poses]))
    return ParticleSet(
        np.full(len(centers), tomogram.name),
        centers,
        score=joined("score"),
        euler_zyz_deg=euler_zyz_deg_from_rotation(turns),
        cluster=labels,
        posterior=posterior[np.arange(len(labels)), labels],
        tomograms=tomograms,
    )
