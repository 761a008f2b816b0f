"""From a store and its clusters to an average of each, with halves, FSC, mask and poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aitom_disca.averaging.fsc import CorrectedFsc, corrected_fsc
from aitom_disca.averaging.gold_standard import FEWEST_MEMBERS, ClusterAverage, average_cluster
from aitom_disca.averaging.masks import density_mask, soft_sphere_mask
from aitom_disca.config import RelionVersion
from aitom_disca.errors import InputError
from aitom_disca.geometry.rotations import euler_zyz_deg_from_rotation
from aitom_disca.io import (
    open_store,
    replacing,
    write_particles_star,
    write_rows_csv,
)
from aitom_disca.io.mrc import write_volume
from aitom_disca.io.store import SubtomogramStore
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline.stages import labels_of_store
from aitom_disca.progress import say

_MASK_EDGE_PX = 3.0
_TABLE = "averages.csv"


@dataclass(frozen=True)
class Averaged:
    """An averaged cluster: its number from 0, what was found, and how far it can be trusted."""

    cluster: int
    rows: np.ndarray
    found: ClusterAverage
    mask: np.ndarray
    fsc: CorrectedFsc

    @property
    def resolution_angstrom(self) -> float:
        """Where the corrected Fourier shell correlation of the halves falls below 0.143."""
        return self.fsc.corrected.resolution_angstrom(0.143)


def average_store(
    store: str | Path,
    out: str | Path,
    *,
    labels: str | Path | None = None,
    clusters: Sequence[int] = (),
    mask: str = "sphere",
    relion: RelionVersion = "3.1",
    seed: int = 0,
) -> list[Averaged]:
    """Average every cluster of a store, and write ``out/cluster_01`` and so on.

    Each folder holds ``average.mrc``, ``half1.mrc``, ``half2.mrc``, ``mask.mrc``, ``fsc.csv``,
    ``fsc.png``, ``slices.png`` and, where positions are known, ``particles.star``: angles from the
    alignment, and coordinates moved to where the particle lies in its box. ``out/averages.csv``
    lists the clusters.

    Parameters
    ----------
    store, out : path
    labels : path, optional
        labels.csv of this store; without it all subtomograms are one cluster.
    clusters : sequence of int
        Numbers from 1; all of them, unless given.
    mask : {"sphere", "density"}
        In which the Fourier shell correlation is measured.
    relion : {"3.1", "5"}
    seed : int

    Raises
    ------
    InputError
        If the labels are not of this store, a cluster does not exist, or none can be averaged.
    """
    out = Path(out)
    with open_store(store) as source:
        cluster = _clusters(source, store, labels)
        wanted = _wanted(cluster, clusters)
        averaged = []
        for k in wanted:
            rows = np.flatnonzero(cluster == k)
            say(f"cluster {k + 1}: {len(rows)} subtomograms")
            if len(rows) < FEWEST_MEMBERS and not clusters and len(wanted) > 1:
                say(f"left out: an average needs at least {FEWEST_MEMBERS}")
                continue
            averaged.append(_average(source, k, rows, mask, seed))
            _write(out / f"cluster_{k + 1:02d}", source, averaged[-1], relion)
    if not averaged:
        raise InputError(
            f"no cluster has the {FEWEST_MEMBERS} members that an average needs; look at the "
            "labels."
        )
    write_rows_csv(out / _TABLE, [_row(one) for one in averaged])
    return averaged


def _clusters(source: SubtomogramStore, store: str | Path, labels: str | Path | None) -> np.ndarray:
    if labels is None:
        return np.zeros(len(source), int)
    return labels_of_store(source, store, labels)[0]


def _wanted(cluster: np.ndarray, numbers: Sequence[int]) -> list[int]:
    known = np.unique(cluster[cluster >= 0]).tolist()
    unknown = [number for number in numbers if number - 1 not in known]
    if unknown:
        raise InputError(
            f"there is no cluster {unknown[0]}; the labels hold "
            f"{', '.join(str(k + 1) for k in known) or 'none'}."
        )
    return [number - 1 for number in numbers] or known


def _average(
    source: SubtomogramStore, cluster: int, rows: np.ndarray, mask: str, seed: int
) -> Averaged:
    found = average_cluster(source.read(rows), source.tilt_range_deg, seed=seed)
    box_px, voxel = source.box_shape_zyx[0], source.voxel_size_angstrom
    if mask == "density":
        inside = density_mask(found.average, voxel)
    else:
        inside = soft_sphere_mask(box_px, box_px / 2 - _MASK_EDGE_PX, _MASK_EDGE_PX)
    rng = np.random.default_rng(seed)
    fsc = corrected_fsc(found.half1, found.half2, inside, voxel, rng)
    one = Averaged(cluster, rows, found, inside, fsc)
    say(f"resolution at FSC 0.143: {one.resolution_angstrom:.1f} A")
    return one


def _write(folder: Path, source: SubtomogramStore, one: Averaged, relion: RelionVersion) -> None:
    from aitom_disca.report.figures import draw_orthoslices
    from aitom_disca.report.fsc_figure import draw_fsc

    voxel = source.voxel_size_angstrom
    volumes = {
        "average": one.found.average,
        "half1": one.found.half1,
        "half2": one.found.half2,
        "mask": one.mask,
    }
    for name, volume in volumes.items():
        write_volume(folder / f"{name}.mrc", volume, voxel)
    write_rows_csv(folder / "fsc.csv", _fsc_rows(one.fsc))
    pictures = {
        "fsc": draw_fsc(one.fsc),
        "slices": draw_orthoslices(one.found.average, voxel),
    }
    for name, png in pictures.items():
        with replacing(folder / f"{name}.png") as temporary:
            temporary.write_bytes(png)
    particles = posed(source.particles().select(one.rows), one.found, voxel)
    particles = particles.with_clusters(np.full(len(particles), one.cluster), particles.posterior)
    if not particles.has_positions and particles.centered_xyz_angstrom is None:
        say("the store holds no positions: no star file written")
        return
    version: RelionVersion = relion if particles.has_positions else "5"
    write_particles_star(folder / "particles.star", particles, relion=version)


def posed(particles: ParticleSet, found: ClusterAverage, voxel_size_angstrom: float) -> ParticleSet:
    """Particles with the angles that alignment found, at the places that it found.

    Parameters
    ----------
    particles : ParticleSet
        The members, in order.
    found : ClusterAverage
    voxel_size_angstrom : float
        Of the subtomograms.
    """
    moved_angstrom = found.shifts_zyx_px * voxel_size_angstrom
    sizes = [
        particles.tomograms[name].voxel_size_angstrom if name in particles.tomograms else np.nan
        for name in particles.tomogram_name
    ]
    centred = particles.centered_xyz_angstrom
    return replace(
        particles,
        center_zyx_px=particles.center_zyx_px + moved_angstrom / np.array(sizes)[:, None],
        centered_xyz_angstrom=None if centred is None else centred + moved_angstrom[:, ::-1],
        euler_zyz_deg=euler_zyz_deg_from_rotation(found.rotations),
    )


def _fsc_rows(fsc: CorrectedFsc) -> list[dict[str, float]]:
    curves = {
        name: getattr(fsc, name).correlation
        for name in ("unmasked", "masked", "randomised", "corrected")
    }
    frequency = fsc.unmasked.frequency_per_angstrom
    return [
        {"frequency_per_angstrom": float(f)} | {n: float(c[i]) for n, c in curves.items()}
        for i, f in enumerate(frequency)
    ]


def _row(one: Averaged) -> dict[str, object]:
    return {
        "cluster": one.cluster + 1,
        "members": len(one.rows),
        "resolution_0.143_angstrom": round(one.resolution_angstrom, 2),
        "resolution_0.5_angstrom": round(one.fsc.corrected.resolution_angstrom(0.5), 2),
        "mean_score": round(float(one.found.score.mean()), 4),
    }
