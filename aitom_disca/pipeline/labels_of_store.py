"""Whether labels and decisions are about the particles of a store."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io import (
    open_store,
)
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.runs.run_folder import RunFolder

if TYPE_CHECKING:
    pass


_SAME_VOXELS = 1.5  # boxes of one pick, cut from tomograms of two voxel sizes


def particles_digest(source: SubtomogramStore) -> str:
    """What tells the particles of a store from others: where they lie, in order.

    Where no places are known it is the files of the images, or else some of the volumes.
    """
    particles = source.particles()
    digest = hashlib.sha256("\n".join(map(str, particles.tomogram_name)).encode())
    if particles.has_positions:
        digest.update(np.round(particles.center_zyx_px, 2).astype("<f8").tobytes())
    elif particles.centered_xyz_angstrom is not None:
        digest.update(np.round(particles.centered_xyz_angstrom, 1).astype("<f8").tobytes())
    elif source.image_name is not None:
        digest.update("\n".join(map(str, source.image_name)).encode())
    else:
        digest.update(source.read(np.unique([0, len(source) - 1])).tobytes())
    return digest.hexdigest()


def check_labels_belong(source: SubtomogramStore, labels: str | Path) -> None:
    """Refuse labels of a run that sorted other particles than those of a store.

    Stores of the same picks, cut from tomograms of other voxel sizes, pass. Of labels that lie in
    no run's folder, or whose store is gone, nothing is known.

    Raises
    ------
    InputError
        If the particles are others.
    """
    own = _store_of(Path(labels).parent)
    if own is None or not own.is_file() or os.path.samefile(own, source.path):
        return
    with open_store(own) as other:
        if _may_be_same(source, other):
            return
    raise InputError(
        f"{labels} holds the labels of {own}, and the particles of {source.path} are others; give "
        "the labels of this store."
    )


def _store_of(folder: Path) -> Path | None:
    """The store that the labels in a folder are of, if a run made them."""
    if not RunFolder(folder).record_file.is_file():
        return None
    with suppress(InputError, KeyError, IndexError, TypeError):
        run = RunFolder.open(folder)
        return run.store if run.record["command"] == "run" else Path(run.record["inputs"][0])
    return None


def _may_be_same(one: SubtomogramStore, other: SubtomogramStore) -> bool:
    first, second = one.particles(), other.particles()
    if len(first) != len(second) or not np.array_equal(first.tomogram_name, second.tomogram_name):
        return False
    if not (first.has_positions and second.has_positions):
        return True
    places, sizes = [], []
    for particles in (first, second):
        voxel = {name: info.voxel_size_angstrom for name, info in particles.tomograms.items()}
        if not {*np.unique(particles.tomogram_name)} <= {*voxel}:
            return True
        own = np.array([voxel[name] for name in particles.tomogram_name])
        places.append(particles.center_zyx_px * own[:, None])
        sizes.append(own)
    apart = np.abs(places[0] - places[1]).max(axis=1)
    return bool((apart <= _SAME_VOXELS * np.maximum(*sizes)).all())


def labels_of_store(
    source: SubtomogramStore, labels: str | Path
) -> tuple[np.ndarray, np.ndarray | None]:
    """Clusters (from 0, -1 for none) and posteriors of a store's subtomograms.

    Raises
    ------
    InputError
        If the labels are not of this store.
    """
    from aitom_disca.io.formats.particles_of_store import labels_of
    from aitom_disca.pipeline.labels_of_store import check_labels_belong

    check_labels_belong(source, labels)
    return labels_of(source, labels)
