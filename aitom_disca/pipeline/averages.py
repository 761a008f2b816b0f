"""From a store and its clusters to an average of each, with halves, FSC, mask and poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.to_reference import AlignedPoses, align_to_reference
from aitom_disca.averaging.gold_standard import FEWEST_MEMBERS
from aitom_disca.averaging.half import FindsPoses
from aitom_disca.averaging.judged import JudgedAverage, KnownMap, judged_average
from aitom_disca.config import AverageSettings, RelionVersion
from aitom_disca.errors import InputError
from aitom_disca.io import open_store, open_tomogram, read_labels_csv, write_rows_csv
from aitom_disca.io.store import SubtomogramStore
from aitom_disca.mining.by_alignment import drawn_rows
from aitom_disca.picking import without_duplicates
from aitom_disca.pipeline.average_files import posed, write_all, write_average
from aitom_disca.pipeline.stages import labels_of_store
from aitom_disca.progress import say, track
from aitom_disca.run_folder import RunFolder

TABLE = "averages.csv"
_AITOMS = (".h5", ".hdf5")  # models of Keras 2
_OWN_MASKS = ("sphere", "density")
_SAME_VOXEL = 1e-3
_LAID_AT_ONCE = 500
_NEAREST_IN_BOX = 0.25  # of the box edge, which is 1.6 diameters of the particle
_LEAST_FREQUENCY = 5.0  # in steps of 1 / box
_ANY_TILT_RANGE_DEG = (-90.0, 90.0)  # of maps, which hold none


@dataclass(frozen=True)
class Averaged:
    """An averaged cluster: its number from 0, its rows of the store, and what came of it."""

    cluster: int
    rows: np.ndarray
    judged: JudgedAverage

    def row(self) -> dict[str, Any]:
        """As in ``averages.csv``."""
        judged = self.judged
        row: dict[str, Any] = {
            "cluster": self.cluster + 1,
            "members": len(self.rows),
            "resolution_0.143_angstrom": round(judged.resolution_angstrom, 2),
            "resolution_0.5_angstrom": round(judged.fsc.corrected.resolution_angstrom(0.5), 2),
            "mean_score": round(float(judged.found.score.mean()), 4),
        }
        if judged.null is not None:
            row["null_test_of"] = judged.null.made_from
            null = judged.null.fsc.corrected.resolution_angstrom(0.143)
            row["null_resolution_0.143_angstrom"] = round(null, 2)
            row["margin"] = round(judged.margin or 0.0, 3)
        for name, one in judged.compared.items():
            row[f"correlation_{name}"] = round(one.correlation, 4)
            row[f"fsc_0.5_{name}_angstrom"] = round(one.curve.resolution_angstrom(0.5), 2)
        return row


def average_store(
    store: str | Path,
    out: str | Path,
    settings: AverageSettings | None = None,
    *,
    labels: str | Path | None = None,
    clusters: Sequence[int] = (),
    compare: Sequence[str | Path] = (),
    rescale: bool = False,
    relion: RelionVersion = "3.1",
) -> list[Averaged]:
    """Average every cluster of a store, and write ``out/cluster_01`` and so on.

    Each folder holds ``average.mrc``, ``filtered.mrc``, ``half1.mrc``, ``half2.mrc``,
    ``mask.mrc``, ``fsc.csv``, pictures of slices, surface and FSC, and, where positions are known,
    ``particles.star``: angles from the alignment, and coordinates moved to where the particle lies
    in its box. ``out/averages.csv`` lists the clusters, ``out/particles.star`` holds the members of
    all, and ``out/space`` says how they lie: view directions, and distances between clusters.

    Parameters
    ----------
    store, out : path
    settings : AverageSettings, optional
    labels : path, optional
        labels.csv of this store; without it all subtomograms are one cluster.
    clusters : sequence of int
        Numbers from 1; all of them, unless given.
    compare : sequence of path
        Density maps that every average is compared with.
    rescale : bool
        Whether maps of another voxel size may be resampled.
    relion : {"3.1", "5"}

    Raises
    ------
    InputError
        If the labels are not of this store, a cluster does not exist, a map or mask does not fit,
        or no cluster can be averaged.
    """
    out, settings = Path(out), settings or AverageSettings()
    with open_store(store) as source:
        cluster = np.zeros(len(source), int)
        if labels is not None:
            cluster, _ = labels_of_store(source, store, labels)
        wanted = _wanted(cluster, clusters)
        known = {_name(path): _known(path, source, rescale) for path in compare}
        mask = _mask_of(settings.mask, source)
        network = _network(settings, source)
        averaged: list[Averaged] = []
        members = []
        for k in wanted:
            rows = np.flatnonzero(cluster == k)
            say(f"cluster {k + 1}: {len(rows)} subtomograms")
            if len(rows) < FEWEST_MEMBERS and not clusters and len(wanted) > 1:
                say(f"left out: an average needs at least {FEWEST_MEMBERS}")
                continue
            judge = partial(
                judged_average,
                tilt_range_deg=source.tilt_range_deg,
                voxel_size_angstrom=source.voxel_size_angstrom,
                settings=settings,
                mask=mask,
                others=_Others(source, cluster, k, settings.seed),
                network=network,
                known=known,
                rescale=rescale,
            )
            one, poses = _averaged(source, k, rows, settings, judge)
            say(f"resolution at FSC 0.143: {one.judged.resolution_angstrom:.1f} A")
            averaged.append(one)
            folder = out / f"cluster_{k + 1:02d}"
            members.append(write_average(folder, source, k, one.rows, one.judged, poses, relion))
    if not averaged:
        raise InputError(
            f"no cluster has the {FEWEST_MEMBERS} members that an average needs; look at the "
            "labels."
        )
    write_all(out, [one for one in members if one is not None], relion)
    write_rows_csv(out / TABLE, [one.row() for one in averaged])
    return averaged


def average_clusters(
    folder: RunFolder, store: str | Path, settings: AverageSettings, relion: RelionVersion
) -> dict[str, Any]:
    """Average the clusters of a run, as far as they can be."""
    cluster, _ = read_labels_csv(folder.labels)
    if np.bincount(cluster[cluster >= 0], minlength=1).max() < FEWEST_MEMBERS:
        say(f"no cluster has the {FEWEST_MEMBERS} members that an average needs")
        return {"averages": 0, "rows": [], "warnings": []}
    averaged = average_store(store, folder.averages, settings, labels=folder.labels, relion=relion)
    warnings = [
        f"The average of cluster {one.cluster + 1} is {one.judged.verdict} "
        f"(margin {one.judged.margin:.2f})."
        for one in averaged
        if one.judged.doubtful
    ]
    return {
        "averages": len(averaged),
        "rows": [one.row() for one in averaged],
        "warnings": warnings,
    }


def _averaged(
    source: SubtomogramStore,
    k: int,
    rows: np.ndarray,
    settings: AverageSettings,
    judge: Callable[[np.ndarray], JudgedAverage],
) -> tuple[Averaged, AlignedPoses]:
    """Average the members of a cluster, again without those that are one particle, picked twice.

    The two picks of a hollow or long particle are drawn to one place by alignment. In different
    halves they would share their noise, and the halves would agree for it.
    """
    distance = settings.min_distance_angstrom
    if distance is None:
        distance = source.box_shape_zyx[0] * source.voxel_size_angstrom * _NEAREST_IN_BOX
    while True:
        drawn = drawn_rows(len(rows), settings.most, np.random.default_rng(settings.seed))
        judged = judge(source.read(rows[drawn]))
        poses = _poses_of_all(source, rows, drawn, judged)
        members = posed(source.particles().select(rows), poses, source.voxel_size_angstrom)
        stays = without_duplicates(replace(members, score=poses.score), distance)
        if stays.all() or stays.sum() < FEWEST_MEMBERS:
            return Averaged(k, rows, judged), poses
        n_gone = int((~stays).sum())
        say(f"{n_gone} of {len(rows)} are particles picked twice; averaged again without them")
        rows = rows[stays]


def _poses_of_all(
    source: SubtomogramStore, rows: np.ndarray, drawn: np.ndarray, judged: JudgedAverage
) -> AlignedPoses:
    """Poses of all members: those that were averaged, and the others laid on the average."""
    found = judged.found
    rest = np.setdiff1d(np.arange(len(rows)), drawn)
    quaternions, score = np.empty((len(rows), 4)), np.empty(len(rows))
    shifts_zyx_px = np.empty((len(rows), 3))
    quaternions[drawn] = found.rotations.as_quat()
    shifts_zyx_px[drawn], score[drawn] = found.shifts_zyx_px, found.score
    edge_angstrom = source.box_shape_zyx[0] * source.voxel_size_angstrom
    largest = max(edge_angstrom / judged.resolution_angstrom, _LEAST_FREQUENCY)
    pieces = np.split(rest, range(_LAID_AT_ONCE, len(rest), _LAID_AT_ONCE)) if len(rest) else []
    for piece in track(pieces, "laying other members on the average") if pieces else ():
        volumes = source.read(rows[piece])
        laid = align_to_reference(
            volumes, judged.filtered, source.tilt_range_deg, largest_frequency=largest
        )
        quaternions[piece] = laid.rotations.as_quat()
        shifts_zyx_px[piece], score[piece] = laid.shifts_zyx_px, laid.score
    return AlignedPoses(Rotation.from_quat(quaternions), shifts_zyx_px, score)


class _Others:
    """Members of other clusters, drawn at random."""

    def __init__(self, source: SubtomogramStore, cluster: np.ndarray, k: int, seed: int) -> None:
        self._source = source
        self._rows = np.flatnonzero((cluster != k) & (cluster >= 0))
        self._rng = np.random.default_rng(seed)

    def __call__(self, n: int) -> np.ndarray:
        rows = self._rng.choice(self._rows, min(n, len(self._rows)), replace=False)
        return self._source.read(np.sort(rows))


def _wanted(cluster: np.ndarray, numbers: Sequence[int]) -> list[int]:
    known = np.unique(cluster[cluster >= 0]).tolist()
    unknown = [number for number in numbers if number - 1 not in known]
    if unknown:
        raise InputError(
            f"there is no cluster {unknown[0]}; the labels hold "
            f"{', '.join(str(k + 1) for k in known) or 'none'}."
        )
    return [number - 1 for number in numbers] or known


def _name(path: str | Path) -> str:
    return Path(path).name.split(".")[0]


def _known(path: str | Path, source: SubtomogramStore, rescale: bool) -> KnownMap:
    """A map to compare with; refused now rather than after the averaging."""
    opened = open_tomogram(path, tilt_range_deg=_ANY_TILT_RANGE_DEG)
    size = opened.voxel_size_angstrom
    if not rescale and abs(size / source.voxel_size_angstrom - 1) > _SAME_VOXEL:
        raise InputError(
            f"{path} has voxels of {size:g} A and the store of {source.voxel_size_angstrom:g} A; "
            "add --rescale to have it resampled."
        )
    return KnownMap(opened.read(), size)


def _network(settings: AverageSettings, source: SubtomogramStore) -> FindsPoses | None:
    """The network that finds poses, where one is wanted."""
    if settings.aligner == "fft":
        return None
    if settings.gumnet is None:
        raise InputError(
            f"the aligner {settings.aligner} needs a network: give --gumnet, a file that "
            "train-gumnet wrote, or the model file of AITom's Gum-Net."
        )
    from aitom_disca.network.gumnet import (
        build_gumnet,
        load_gumnet,
        load_legacy_weights,
        predict_poses,
    )

    box_px = source.box_shape_zyx[0]
    if Path(settings.gumnet).suffix.lower() in _AITOMS:
        model = build_gumnet(box_px)
        load_legacy_weights(settings.gumnet, model)
    else:
        model = load_gumnet(settings.gumnet)
    if model.input_shape[0][1] != box_px:
        raise InputError(
            f"{settings.gumnet} was trained on boxes of {model.input_shape[0][1]} voxels, but the "
            f"store has {box_px}; train another."
        )
    return lambda volumes, target: predict_poses(model, volumes, target, source.tilt_range_deg)


def _mask_of(name: str, source: SubtomogramStore) -> np.ndarray | None:
    """The mask of a file; None where it is made from each average."""
    from aitom_disca.averaging.checks import as_mask

    if name in _OWN_MASKS:
        return None
    if not Path(name).exists():
        raise InputError(f"expected sphere, density or a map as the mask, but there is no {name}.")
    opened = open_tomogram(name, voxel_size_angstrom=1.0, tilt_range_deg=_ANY_TILT_RANGE_DEG)
    return as_mask(opened.read(), source.box_shape_zyx)
