"""How a subtomogram store lies in an HDF5 file, one chunk per volume.

Datasets, one row per subtomogram:

========================== ================= ==================================================
``subtomograms``           (N, z, y, x)      float32, protein bright
``tomogram_name``          (N,)              text
``center_zyx_px``          (N, 3)            voxels of the tomogram, from 0; NaN where unknown
``score``                  (N,)              picking score
``diameter_angstrom``      (N,)              size at which the particle was found, if known
``euler_zyz_deg``          (N, 3)            RELION's rot, tilt, psi, if known
``coordinates_xyz_angstrom`` (N, 3)          from the tomogram's centre, if only that is known
``box_center_zyx_px``      (N, 3)            where boxes were cut, if not at the nearest voxel
``cluster``, ``posterior`` (N,)              clusters from 0, -1 for none, if the source had any
``column:NAME``            (N,)              further columns of the file they came from
``labels``                 (N,)              ground truth of simulated data
``diameter_angstrom``      (N,)              of the particle, as it was picked
``raw_mean``, ``raw_std``  (N,)              what normalisation took away: raw = std volume + mean
``image_name``             (N,)              text: the volume's file, where it came from one
``tilt_range_deg``         (N, 2)            smallest and largest measured tilt, where they differ
``row``                    (N,)              of a shard: order among the subtomograms of all shards
``crc32``                  (N,)              checksums of the volumes
========================== ================= ==================================================

Only ``subtomograms`` and the attribute ``voxel_size_angstrom`` are needed to read a file. The
attribute ``tilt_range`` is what all subtomograms measured; ``tomograms`` holds, as JSON, what is
known of every tomogram: its tilt range, all its tilts where they are known, defocus and so on.
A large store may be an index of shards, see `aitom_disca.io.stores.shards`.
Columns and attributes have their checksums in attributes ``crc32``, see `io.disk.checksums`.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.checksums import check_chunks, check_seal

FORMAT_VERSION = 1
WHAT = "a store of subtomograms"
TODO = "the file is damaged, extract the subtomograms again"
COLUMNS = {  # dataset: ParticleSet's name
    "tomogram_name": "tomogram_name",
    "center_zyx_px": "center_zyx_px",
    "score": "score",
    "euler_zyz_deg": "euler_zyz_deg",
    "coordinates_xyz_angstrom": "centered_xyz_angstrom",
    "box_center_zyx_px": "box_center_zyx_px",
    "cluster": "cluster",
    "posterior": "posterior",
}
ROW = "row"
CHECKSUMS = "crc32"
TEXT = ("tomogram_name", "image_name")
WHOLE = ("labels", "cluster", ROW, CHECKSUMS)
FURTHER = "column:"
DIAMETER = "diameter_angstrom"  # a further column of the particles
TILTS = "tilt_range_deg"
_FILES_OPEN_ELSE = 256  # at most, beside the shards of a store


def check_layout(file: h5py.File, path: Path) -> None:
    """Refuse what is no store, or one that cannot be read.

    Raises
    ------
    InputError
        If there are no volumes, a shard is missing, or there is no voxel size.
    """
    volumes = file["subtomograms"] if "subtomograms" in file else None  # get() hides damage
    if not isinstance(volumes, h5py.Dataset):
        found = ", ".join(file) or "nothing"
        raise InputError(
            f"{path.name} holds no dataset 'subtomograms' (found: {found}); rename the dataset of "
            "the volumes, or extract the subtomograms again."
        )
    if volumes.ndim != 4:
        raise InputError(
            f"'subtomograms' in {path.name} has shape {volumes.shape}; expected four axes "
            "(number, z, y, x): reshape it."
        )
    if 0 in volumes.shape:
        raise InputError(f"{path.name} holds no subtomograms; pick with a lower threshold.")
    check_shards(volumes, path)
    check_chunks(volumes, path)
    check_seal(file, path, attributes_only=True)
    size = float(file.attrs.get("voxel_size_angstrom", 0))
    if not (np.isfinite(size) and size > 0):
        raise InputError(
            f"{path.name} holds no voxel size; set the file attribute 'voxel_size_angstrom' "
            "(in Angstrom)."
        )


def check_shards(volumes: h5py.Dataset, path: Path) -> None:
    """Refuse an index of which shards cannot be read: HDF5 takes them for empty."""
    shards = {s.file_name for s in volumes.virtual_sources()} if volumes.is_virtual else ()
    for shard in sorted(shards):
        if not (path.parent / shard.replace("%%", "%")).is_file():
            raise InputError(
                f"{path.name} is an index of shards, of which {shard} is missing; move the folder "
                "of shards together with it, or extract the subtomograms again."
            )
    _allow_open_files(len(shards), path)


def _allow_open_files(n: int, path: Path) -> None:
    """Let this process hold so many files open, and some more."""
    try:
        import resource
    except ImportError:  # not on this system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n + _FILES_OPEN_ELSE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise InputError(
            f"{path.name} has {n} shards, but only {hard} files may be open at once; raise that "
            f"limit (ulimit -n {wanted}), or extract fewer tomograms into one store."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
