"""What picking finds: particles, what was set apart, and why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from aitom_disca.config import PickSettings
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.particles import ParticleSet, concatenate

PARTICLE = "particle"


@dataclass(frozen=True)
class Candidates:
    """What was found in a tomogram, or in several.

    Parameters
    ----------
    particles : ParticleSet
        What goes on, best first. ``score`` is the height of the peak in noise levels, ``more``
        holds ``diameter_angstrom``, the size at which it was found, and ``kind``.
    junk : mapping of str to ParticleSet
        What was set apart: gold, sheet, filament.
    heights : mapping of str to ndarray
        Of each tomogram the heights of all peaks, best first.
    thresholds : mapping of str to float
        Of each tomogram.
    reasons : mapping of str to str
        Why a tomogram has no particle.
    """

    particles: ParticleSet
    junk: Mapping[str, ParticleSet] = field(default_factory=dict)
    heights: Mapping[str, np.ndarray] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def join_candidates(parts: Sequence[Candidates]) -> Candidates:
    """What was found in several tomograms as one."""

    def merged(name: str) -> dict:
        return {k: v for part in parts for k, v in getattr(part, name).items()}

    kinds = dict.fromkeys(kind for part in parts for kind in part.junk)
    return Candidates(
        concatenate([part.particles for part in parts]),
        {kind: concatenate([p.junk[kind] for p in parts if kind in p.junk]) for kind in kinds},
        merged("heights"),
        merged("thresholds"),
        merged("reasons"),
    )


def particle_set(
    tomogram: Tomogram,
    zyx: np.ndarray,
    score: np.ndarray,
    diameter_angstrom: np.ndarray,
    kind: np.ndarray,
) -> ParticleSet:
    """Picks of one tomogram."""
    return ParticleSet(
        np.full(len(score), tomogram.name),
        np.asarray(zyx, float).reshape(-1, 3),
        score=np.asarray(score, float),
        tomograms={tomogram.name: tomogram.info},
        more={
            "diameter_angstrom": np.asarray(diameter_angstrom, float),
            "kind": np.asarray(kind, object),
        },
    )


def set_apart(
    picks: ParticleSet, gold: ParticleSet, settings: PickSettings
) -> tuple[ParticleSet, dict[str, ParticleSet]]:
    """What goes on, best first, and what does not, by kind."""
    every = concatenate([picks, gold])
    kind = np.asarray(every.more["kind"])
    goes_on = np.isin(kind, [PARTICLE, *settings.keep])
    order = np.argsort(-np.asarray(every.score), kind="stable")
    particles = every.select(order[goes_on[order]])
    junk = {
        name: every.select(order[(kind == name)[order]])
        for name in dict.fromkeys(kind[~goes_on].tolist())
    }
    return particles, junk


def why_none(
    tomogram: Tomogram, settings: PickSettings, heights: np.ndarray, threshold: float
) -> str:
    """Why nothing was picked."""
    if not len(heights):
        return (
            f"tomogram {tomogram.name} has no bright peak where picks may lie; check that protein "
            "is bright, and the mask."
        )
    return (
        f"no peak of tomogram {tomogram.name} reaches the threshold {threshold:.4g} of the "
        f"rule '{settings.threshold_rule}', the best is {heights[0]:.4g}; lower the "
        "threshold, or check the particle diameter and that protein is bright."
    )
