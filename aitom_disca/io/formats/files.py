"""What readers and writers of particle files share: text, numbers, names, places, angles."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry import euler_zyz_deg_from_rotation, rotation_from_euler_zyz_deg
from aitom_disca.io.formats.format import Known, tomogram_numbers
from aitom_disca.io.mrc import tomogram_name
from aitom_disca.particles import UNASSIGNED, ParticleSet, TomogramInfo

logger = logging.getLogger(__name__)

_SAME_SIZE = 0.01  # pixel sizes that differ by less mean the same voxels


def library(name: str, title: str) -> Any:
    """A package that not everybody has.

    Raises
    ------
    InputError
        If it is missing.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"{title} needs the package {name}; install it with pip install 'aitom-disca[exports]'."
        ) from error


def head(path: Path, n_bytes: int = 65536) -> str:
    """The beginning of a file as text, empty where it cannot be read: for recognisers."""
    try:
        with open(path, "rb") as file:
            return file.read(n_bytes).decode("utf-8", errors="replace")
    except OSError:
        return ""


def read_text(path: str | Path) -> str:
    """Text of a file.

    Raises
    ------
    InputError
        If it is not there, or no text.
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not a text file; check which file this is.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error


def read_json(path: str | Path) -> Any:
    """Content of a JSON file.

    Raises
    ------
    InputError
        If it is not there, or no JSON.
    """
    return parse_json(read_text(path), Path(path).name)


def parse_json(text: str, where: str) -> Any:
    """Content of JSON text; ``where`` names it in the error.

    Raises
    ------
    InputError
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}); check which file this is.") from error


def to_numbers(values: Any, path: str | Path, what: str) -> np.ndarray:
    """Finite numbers from what a file holds.

    Raises
    ------
    InputError
        If one is no number.
    """
    try:
        numbers = np.asarray(values).astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{Path(path).name} holds something that is no number as {what} ({error})."
        ) from error
    if not np.isfinite(numbers).all():
        raise InputError(f"{Path(path).name} holds something that is no number as {what} (nan).")
    return numbers


def one_file_per_tomogram(
    path: str | Path, particles: ParticleSet
) -> list[tuple[Path, str, ParticleSet]]:
    """File, tomogram and its particles: ``OUT`` for one tomogram, else ``OUT_name.suffix``."""
    path = Path(path)
    names = list(dict.fromkeys(particles.tomogram_name.tolist()))
    parts = []
    for name in names:
        own = path
        if len(names) > 1:
            own = path.with_name(f"{path.stem}_{file_part(name)}{path.suffix}")
        parts.append((own, str(name), particles.select(particles.tomogram_name == name)))
    return parts


def file_part(name: str) -> str:
    """A name without what file names cannot hold."""
    return re.sub(r'[<>:"/\\|?*\s]+', "-", str(name)).strip("-") or "tomogram"


def name_of_only_tomogram(path: str | Path, known: Known) -> str:
    """Name of the tomogram of a file that does not say it.

    Raises
    ------
    InputError
        If it was not given.
    """
    if known.tomogram_name is not None:
        return known.tomogram_name
    if len(known.tomograms) == 1:
        return next(iter(known.tomograms))
    raise InputError(
        f"{Path(path).name} does not say which tomogram its particles are in; give its name with "
        "--tomogram-name."
    )


@dataclass(frozen=True)
class Places:
    """Which tomograms the particles of a file are in, and in which voxels.

    Parameters
    ----------
    names : ndarray of str, shape (N,)
    scale : ndarray of shape (N, 1)
        Voxels of the tomogram in a pixel of the file.
    tomograms : mapping of str to TomogramInfo
        Those of which at least the voxel size is known.
    """

    names: np.ndarray
    scale: np.ndarray
    tomograms: Mapping[str, TomogramInfo]


def find_places(
    path: str | Path,
    names: Iterable[str],
    known: Known,
    *,
    pixel_angstrom: Mapping[str, float] | None = None,
    tilt_range_deg: Mapping[str, tuple[float, float]] | None = None,
) -> Places:
    """Tomograms by the names under which they are known, and the scale of the file.

    Parameters
    ----------
    path : path
    names : iterable of str
        What the file calls the tomogram of every particle; it may be a path.
    known : Known
    pixel_angstrom, tilt_range_deg : mapping of str to values, optional
        What the file says of a tomogram, by its name there.
    """
    given = [str(name) for name in names]
    infos: dict[str, TomogramInfo] = {}
    own: dict[str, str] = {}
    scale: dict[str, float] = {}
    for name in dict.fromkeys(given):
        own[name] = name if name in known.tomograms else tomogram_name(name)
        pixel = known.file_pixel_angstrom or (pixel_angstrom or {}).get(name)
        info = _info(own[name], name, known, pixel, (tilt_range_deg or {}).get(name))
        scale[name] = 1.0
        if info is not None:
            infos[own[name]] = info
            if pixel and abs(pixel / info.voxel_size_angstrom - 1) > _SAME_SIZE:
                scale[name] = pixel / info.voxel_size_angstrom
                logger.warning(
                    "%s counts in pixels of %.5g Angstrom, tomogram %s has %.5g; coordinates are "
                    "scaled (--file-pixel-angstrom if that is wrong).",
                    Path(path).name,
                    pixel,
                    own[name],
                    info.voxel_size_angstrom,
                )
    return Places(
        np.array([own[name] for name in given], dtype=str),
        np.array([scale[name] for name in given])[:, None],
        infos,
    )


def _info(
    name: str,
    name_in_file: str,
    known: Known,
    pixel: float | None,
    tilt_range_deg: tuple[float, float] | None,
) -> TomogramInfo | None:
    if name in known.tomograms or known.voxel_size_angstrom or pixel:
        if not (name in known.tomograms or known.voxel_size_angstrom):
            known = replace(known, voxel_size_angstrom=pixel)
        info = known.info(name)
        if name in known.tomograms:
            return info
        if tilt_range_deg is not None and known.tilt_range_deg is None:
            info = replace(info, tilt_range_deg=tilt_range_deg)
        is_path = "/" in name_in_file or name_in_file != name
        return replace(info, path=Path(name_in_file)) if is_path else info
    return None


def voxel_size_or_none(name: str, particles: ParticleSet, known: Known) -> float | None:
    """Voxel size of a tomogram, for formats that can do without."""
    if known.voxel_size_angstrom or name in known.tomograms or name in particles.tomograms:
        return known.info(name, particles).voxel_size_angstrom
    return None


def numbers_of_tomograms(particles: ParticleSet, column: str) -> dict[str, int]:
    """Number of every tomogram: of a further column if that tells them apart, else from 1."""
    names = particles.tomogram_name.tolist()
    if column in particles.more:
        pairs = set(zip(names, _integers(particles.more[column]), strict=True))
        numbers = dict(pairs)
        if (
            len(pairs) == len(numbers) == len(set(numbers.values()))
            and None not in numbers.values()
        ):
            return {str(name): int(numbers[name]) for name in dict.fromkeys(names)}
    return tomogram_numbers(particles)


def _integers(column: np.ndarray) -> list[int | None]:
    values = pd.to_numeric(pd.Series(column), errors="coerce")
    return [int(v) if np.isfinite(v) else None for v in values]


def read_number_map(path: Path) -> dict[int, str]:
    """Lines of a number and the name or file of a tomogram; empty if there is no such file.

    Raises
    ------
    InputError
    """
    if not path.is_file():
        return {}
    found = {}
    for line in read_text(path).splitlines():
        number, _, name = line.strip().partition(" ")
        if not number:
            continue
        if not number.lstrip("-").isdigit() or not name.strip():
            raise InputError(
                f"{path.name} needs lines of a number and the file of a tomogram; found: {line!r}."
            )
        found[int(number)] = name.strip()
    return found


def number_map_text(
    numbers: Mapping[str, int], particles: ParticleSet, known: Known, block: str
) -> str:
    """Lines of a number and a tomogram: its file, where that is known, else its name.

    ``block`` is the one of `files_of_numbers`.
    """
    before = dict(particles.more_blocks.get(block, ()))
    lines = []
    for name, number in numbers.items():
        info = known.tomograms.get(name) or particles.tomograms.get(name)
        choices = [str(info.path) if info and info.path else None, before.get(name)]
        # a file of another name would be read as another tomogram
        fitting = [path for path in choices if path and tomogram_name(path) == name]
        lines.append(f"{number} {fitting[0] if fitting else name}\n")
    return "".join(lines)


def files_of_numbers(numbers: Mapping[int, str]) -> list[tuple[str, str]]:
    """Names and files of tomograms from a map of numbers, to be kept as a further block."""
    return [(tomogram_name(path), path) for path in numbers.values()]


def names_of_numbers(numbers: np.ndarray, names: Mapping[int, str], known: Known) -> list[str]:
    """Names of tomograms that a file only numbers: from a map, the one given, or the number."""
    unique = set(numbers.tolist())
    if known.tomogram_name is not None and len(unique) == 1:
        return [known.tomogram_name] * len(numbers)
    return [names.get(int(n), str(int(n))) for n in numbers]


def clusters_from_1(numbers: np.ndarray) -> np.ndarray | None:
    """Clusters from 0 of numbers that count from 1; none at all where all are 0."""
    if not (numbers > 0).any():
        return None
    return np.where(numbers < 1, UNASSIGNED, numbers - 1).astype(int)


def numbers_from_1(particles: ParticleSet) -> np.ndarray:
    """Clusters counted from 1, 0 for none."""
    if particles.cluster is None:
        return np.zeros(len(particles), int)
    return np.where(particles.cluster < 0, 0, particles.cluster + 1).astype(int)


def scores_or_none(values: Any, path: str | Path) -> np.ndarray | None:
    """Scores, NaN where none is known; None where a file only fills its column with 0.

    Raises
    ------
    InputError
        If one is no number.
    """
    try:
        numbers = np.asarray(values).astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{Path(path).name} holds something that is no number as a score ({error})."
        ) from error
    return numbers if np.nan_to_num(numbers).any() else None


def lost_columns(particles: ParticleSet, written: Iterable[str]) -> list[str]:
    """What a format that writes these further columns does not keep, in words."""
    kept = set(written)
    lost = [name for name in particles.more if name not in kept]
    return [f"further columns {', '.join(lost)}"] if lost else []


def rotations(particles: ParticleSet) -> Rotation:
    """Pose of every particle, reference to tomogram; none turned where nothing is known."""
    if particles.euler_zyz_deg is None:
        return Rotation.identity(len(particles))
    return rotation_from_euler_zyz_deg(np.nan_to_num(particles.euler_zyz_deg))


def euler_zyz_deg(rotation: Rotation) -> np.ndarray:
    """RELION's angles of poses; where two of them turn the same axis, one is 0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gimbal lock")
        return euler_zyz_deg_from_rotation(rotation)


def zxz_deg(rotation: Rotation) -> np.ndarray:
    """Angles (N, 3) about the fixed axes z, x, z in the order in which they are turned."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gimbal lock")
        return rotation.as_euler("zxz", degrees=True)


def rotations_from_matrices(matrices: Any, path: str | Path) -> Rotation:
    """Rotations from 3 x 3 matrices.

    Raises
    ------
    InputError
        If one is no rotation.
    """
    array = to_numbers(matrices, path, "a rotation matrix")
    if array.ndim != 3 or array.shape[1:] != (3, 3):
        raise InputError(f"{Path(path).name} holds a rotation matrix that is not 3 x 3.")
    error = np.abs(array @ array.transpose(0, 2, 1) - np.eye(3)).max(initial=0)
    if error > 1e-2 or (np.linalg.det(array) < 0).any():
        raise InputError(
            f"{Path(path).name} holds a matrix that is no rotation (it scales, shears or mirrors)."
        )
    return Rotation.from_matrix(array)


def box_centers(particles: ParticleSet) -> np.ndarray:
    """Where boxes are cut (z, y, x): the particles' centres where nothing else is known."""
    boxes = particles.box_center_zyx_px
    return particles.center_zyx_px if boxes is None else boxes


def box_centers_if_moved(box_zyx: np.ndarray, center_zyx: np.ndarray) -> np.ndarray | None:
    """Box centres, or None where they are the particles' own."""
    return None if np.array_equal(box_zyx, center_zyx) else box_zyx
