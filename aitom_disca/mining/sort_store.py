"""Sort a store by alignment: some subtomograms thoroughly, then all by what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.classification import AlignmentSorter
from aitom_disca.classification.assign_others import Assigner, LearntAverages
from aitom_disca.classification.assignments_of_all import Standing
from aitom_disca.classification.rounds_over_all import AllParticles
from aitom_disca.classification.sort_all import SortedAll, name_of_pass, sort_all
from aitom_disca.computing.parallel import Workers
from aitom_disca.computing.reading_ahead import read_ahead
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.geometry.wedge import TiltRanges, tilt_ranges_of
from aitom_disca.io import open_store
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.mining.checkpoint import Checkpoint, Step
from aitom_disca.mining.solution import pack, with_parts
from aitom_disca.progress import muted, track
from aitom_disca.subtomograms.dataset import PreparedVolumes, Source

_ASSIGNED_AT_ONCE = 500
_MASKS = 1.25  # diameters of the mask that a box holds: it follows particles off the centre
_FEWEST_DRAWN = 50  # members of every cluster that is known


@dataclass(frozen=True)
class Sorted:
    """Labels (n,) from 0, -1 for none; posterior (n, K) of all clusters; what found them."""

    labels: np.ndarray
    posterior: np.ndarray
    sorter: AlignmentSorter | SortedAll


def sort_source(
    source: Source,
    rows: np.ndarray,
    begin: Callable[[AlignmentSorter], np.ndarray],
    tilt_range_deg: TiltRanges,
    *,
    mask_radius_px: float = np.inf,
    graded_wedge: bool = True,
    most: int = 1000,
    looks: int = 2,
    seed: int = 0,
    settings: SortingSettings = SORTING,
    checkpoint: Checkpoint | None = None,
    workers: Workers | None = None,
) -> Sorted:
    """Sort some subtomograms by alignment; if there are more, then all, from what was found.

    Parameters
    ----------
    source : Source
    rows : ndarray of int
        The subtomograms that are held in memory and sorted among themselves.
    begin : callable
        Sorts these, given the sorter that holds them; returns their labels.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (len(source), 2)
        Of all subtomograms, or of each.
    mask_radius_px : float
        Of a soft sphere round each particle, in voxels of the source; infinite for none.
    graded_wedge : bool
        Whether noise and signal that clearly fall off with tilt are taken into account.
    most, looks : int
        Clusters at most, and how often at most structures that were missed are looked for among
        all.
    seed : int
    settings : SortingSettings
        The constants of the sorting.
    checkpoint : Checkpoint, optional
        Keeps what was found among some, and every pass over all.
    workers : Workers, optional
        Do the passes over all, if the source is a store, which they open by its path.
    """
    sorter_of_rows = partial(
        _sorter_of, source, rows, tilt_range_deg, mask_radius_px, graded_wedge, seed, settings
    )
    if len(rows) == len(source):
        sorter = sorter_of_rows()
        return Sorted(begin(sorter), sorter.posterior.astype(np.float32), sorter)
    checkpoint = checkpoint or Checkpoint.nowhere()

    def draw() -> Step:
        sorter = sorter_of_rows()
        begin(sorter)
        return pack(sorter.learnt())

    def keep(name: str, work: Callable[[], Standing]) -> Standing:
        arrays, meta = checkpoint.step(name, lambda: pack(work()))
        return Standing(**with_parts({**meta, **arrays}, "classes"))

    arrays, meta = checkpoint.step("drawn", draw)
    learnt = LearntAverages(**{**meta, **arrays})
    how = {"box_px": learnt.averages.shape[-1], "box_share": learnt.box_share}
    read = partial(_read, source, **how)
    if isinstance(source, SubtomogramStore):
        path = source.path.absolute()
        if workers is not None:
            read = partial(_read_store, path, path.stat().st_mtime_ns, **how)
    else:
        workers = None
    everything = AllParticles(
        read, len(source), learnt, tilt_range_deg, seed=seed, settings=settings, workers=workers
    )
    found = sort_all(everything, learnt, most=most, looks=looks, seed=seed, keep=keep)
    return Sorted(found.classes.labels, found.classes.posterior, found)


def steps_of(looks: int) -> list[str]:
    """Names of the steps that `sort_source` keeps."""
    return ["drawn", *(name_of_pass(number) for number in range(looks + 1))]


def _sorter_of(
    source: Source,
    rows: np.ndarray,
    tilt_range_deg: TiltRanges,
    mask_radius_px: float,
    graded_wedge: bool,
    seed: int,
    settings: SortingSettings,
) -> AlignmentSorter:
    """A sorter that holds some subtomograms of a source."""
    crop_px = looked_at_px(source.box_shape_zyx[0], mask_radius_px)
    box = min(settings.box_px, crop_px)
    prepared = PreparedVolumes(source, box_px=box, rows=rows, crop_px=crop_px)
    return AlignmentSorter(
        prepared.read(np.arange(len(rows))),
        tilt_ranges_of(tilt_range_deg, rows),
        mask_radius_px=mask_radius_px * box / crop_px,
        box_share=crop_px / source.box_shape_zyx[0],
        graded_wedge=graded_wedge,
        seed=seed,
        settings=settings,
    )


def _read(source: Source, rows: np.ndarray, *, box_px: int, box_share: float) -> np.ndarray:
    """Some subtomograms of a source in the box that is looked at."""
    crop_px = round(box_share * source.box_shape_zyx[0])
    with muted():
        prepared = PreparedVolumes(source, box_px=box_px, rows=rows, crop_px=crop_px)
    return prepared.read(np.arange(len(rows)))


def _read_store(path: Path, written_ns: int, rows: np.ndarray, **how: Any) -> np.ndarray:
    """As `_read`, in another process."""
    return _read(_opened(path, written_ns), rows, **how)


@lru_cache(maxsize=1)
def _opened(path: Path, written_ns: int) -> SubtomogramStore:
    """A store; when it was written tells those of one name apart."""
    return open_store(path)


def looked_at_px(box_px: int, mask_radius_px: float) -> int:
    """Edge of the middle of a box that holds the mask; what is beyond only costs resolution.

    The search looks at so many frequencies of its box: the smaller that is, the finer they are.
    """
    if np.isinf(mask_radius_px):
        return box_px
    return min(box_px, 2 * round(_MASKS * mask_radius_px))


def assign_rows(
    source: Source, rows: np.ndarray, assigner: Assigner, wedge: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,), -1 for noise, and posteriors (n, K) of some subtomograms, by averages.

    Where the assigner has several tilt ranges, ``wedge`` (len(source),) says which each has.
    """
    found = []
    pieces = np.split(rows, range(_ASSIGNED_AT_ONCE, len(rows), _ASSIGNED_AT_ONCE))

    def read(piece: np.ndarray) -> np.ndarray:
        return _read(source, piece, box_px=assigner.box_px, box_share=assigner.box_share)

    for piece, volumes in track(read_ahead(read, pieces), "assigning", len(pieces)):
        found.append(assigner.assign(volumes, None if wedge is None else wedge[piece]))
    labels, posterior = zip(*found, strict=True)
    return np.concatenate(labels), np.concatenate(posterior)


def drawn_rows(
    n: int, most: int, rng: np.random.Generator, labels: np.ndarray | None = None
) -> np.ndarray:
    """At most so many of n subtomograms, drawn at random, in order.

    Parameters
    ----------
    n, most : int
    rng : numpy.random.Generator
    labels : ndarray of int, shape (n,), optional
        Clusters that are known: 50 members of each are drawn at least, so that a rare one is not
        missed.
    """
    if n <= most:
        return np.arange(n)
    order = rng.permutation(n)
    if labels is not None:
        first = [order[labels[order] == k][:_FEWEST_DRAWN] for k in np.unique(labels)]
        order = np.concatenate([*first, np.setdiff1d(order, np.concatenate(first), True)])
    return np.sort(order[:most])
