"""Tomograms in OME-Zarr, as on the CryoET Data Portal: read by blocks, never whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.numbers_in_files import to_numbers
from aitom_disca.io.tomograms.zarr_chunks import check_chunks

_ANGSTROM = {
    "angstrom": 1.0,
    "ångström": 1.0,
    "nanometer": 10.0,
    "micrometer": 1e4,
    "picometer": 0.01,
}
_SAME_EDGE = 0.01
_WHAT = "OME-Zarr"


class ZarrVolume:
    """An array (z, y, x) of a Zarr store; every read takes the chunks that it needs.

    Leading axes of length 1, such as a channel, are left out.
    """

    def __init__(self, array: Any, path: Path) -> None:
        self._array, self._path = array, path
        self._lead = (0,) * (array.ndim - 3)
        self.shape: tuple[int, int, int] = array.shape[-3:]
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, slices: Any) -> np.ndarray:
        """Voxels, as of an ndarray."""
        if slices is ...:
            slices = (slice(None),) * 3
        if not isinstance(slices, tuple):
            slices = (slices,)
        with reading(self._path, _WHAT, "a chunk may be damaged: copy it again"):
            return np.asarray(self._array[(*self._lead, *slices)])


def is_zarr(path: str | Path) -> bool:
    """Whether a folder is a Zarr store, by its name or its metadata."""
    path = Path(path)
    return path.is_dir() and (
        path.suffix == ".zarr" or (path / ".zattrs").is_file() or (path / "zarr.json").is_file()
    )


def open_zarr_volume(
    path: str | Path, level: int = 0, *, voxel_size_angstrom: float | None = None
) -> tuple[ZarrVolume, float]:
    """Open a level of a multiscale image, and say its voxel size.

    Level n holds means of ``2^n`` voxels along each axis, so that its voxel i lies at
    ``i 2^n + (2^n - 1) / 2`` of level 0, while lengths counted from voxel 0 say ``i 2^n``: pick and
    extract in one level.

    Parameters
    ----------
    path : path
        NGFF 0.4 (``.zattrs``) or 0.5 (``zarr.json``), axes z, y, x.
    level : int
        0 is the full size.
    voxel_size_angstrom : float, optional
        Overrides the scale in the metadata.

    Returns
    -------
    volume : ZarrVolume
    voxel_size_angstrom : float

    Raises
    ------
    InputError
        If the package zarr is missing, the folder holds no such image or level, chunks are missing
        beside data, or the voxel size is unknown or differs between the axes.
    """
    path = Path(path)
    group, image = _opened(path)
    with reading(path, _WHAT):
        datasets = image.get("datasets") or []
        if not 0 <= level < len(datasets):
            raise InputError(
                f"{path.name} has the levels 0 to {len(datasets) - 1}; got --zarr-level {level}."
            )
        array = group[datasets[level]["path"]]
        voxel = voxel_size_angstrom or _voxel_size(path, image, level)
        _check_shape(path, array)
        check_chunks(array, path / datasets[level]["path"], path.name)
    return ZarrVolume(array, path), voxel


def _check_shape(path: Path, array: Any) -> None:
    if array.ndim < 3 or any(n != 1 for n in array.shape[:-3]):
        raise InputError(
            f"expected a 3D tomogram in {path.name}, but its array has the shape {array.shape}."
        )


def _opened(path: Path) -> tuple[Any, dict[str, Any]]:
    """The group, and the first image of its metadata."""
    try:
        import zarr
    except ImportError as error:
        raise InputError(
            f"{path.name} needs the package zarr; install it with pip install 'aitom-disca[zarr]'."
        ) from error
    with reading(path, _WHAT):
        group = zarr.open_group(str(path.absolute()), mode="r")
        attributes: dict[str, Any] = dict(group.attrs)
        images = attributes.get("multiscales") or attributes.get("ome", {}).get("multiscales")
    if not images:
        raise InputError(
            f"{path} holds no multiscale image (OME-Zarr); give the folder that does, such as "
            "Tomograms/100/TS_01.zarr."
        )
    return group, images[0]


def _voxel_size(path: Path, image: dict[str, Any], level: int) -> float:
    axes = image.get("axes") or []
    names = [axis.get("name") if isinstance(axis, dict) else axis for axis in axes][-3:]
    if names and names != ["z", "y", "x"]:
        raise InputError(
            f"expected the axes z, y, x in {path.name}, but they are {', '.join(map(str, names))}."
        )
    scale = np.ones(3)
    own = image["datasets"][level].get("coordinateTransformations") or []
    shared = image.get("coordinateTransformations") or []
    given = [step.get("scale") for step in (*own, *shared) if step.get("type") == "scale"]
    for one in given:
        scale = scale * to_numbers((one or [])[-3:], path, "a scale")
    units = {axis.get("unit") for axis in axes[-3:] if isinstance(axis, dict)}
    unit = str(next(iter(units))).lower() if len(units) == 1 else ""
    if not given or unit not in _ANGSTROM or not np.all(scale > 0):
        raise InputError(
            f"{path.name} does not say its voxel size in a unit of length that is known here; give "
            "it with --voxel-size-angstrom."
        )
    scale = scale * _ANGSTROM[unit]
    if scale.max() > (1 + _SAME_EDGE) * scale.min():
        text = ", ".join(f"{s:.4g}" for s in scale[::-1])
        raise InputError(
            f"{path.name} has voxels of different edges (x, y, z: {text} Angstrom); resample it to "
            "cubic voxels."
        )
    return round(float(scale[0]), 5)
