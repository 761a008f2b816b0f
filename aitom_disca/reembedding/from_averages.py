"""From a store and the averages of its clusters to maps of what lies where in each tomogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io import open_store, open_tomogram, read_particles_star, read_rows_csv, write_text
from aitom_disca.io.file_names import file_parts
from aitom_disca.io.mrc import Tomogram
from aitom_disca.io.numbers_in_files import to_whole_numbers
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.progress import say
from aitom_disca.reembedding.chimerax import chimerax_script
from aitom_disca.reembedding.embed import PlacedAverage, embed_tomogram

_TABLE = "averages.csv"
_ANY_TILT_RANGE_DEG = (-90.0, 90.0)  # of averages, which hold none


@dataclass(frozen=True)
class EmbeddedTomogram:
    """The files of one tomogram.

    Parameters
    ----------
    name : str
        Of the tomogram.
    n_particles : int
    density, labels, script : Path
    clusters : mapping of int to Path
        Density of each cluster, by number from 1, where these were asked for.
    """

    name: str
    n_particles: int
    density: Path
    labels: Path
    script: Path
    clusters: Mapping[int, Path]


@dataclass(frozen=True)
class _Cluster:
    number: int
    average: Tomogram
    mask: np.ndarray | None
    tomogram_name: np.ndarray
    center_zyx_px: np.ndarray
    euler_zyz_deg: np.ndarray

    def placed_in(self, name: str) -> PlacedAverage:
        rows = self.tomogram_name == name
        return PlacedAverage(
            self.number,
            self.average.read(),
            self.average.voxel_size_angstrom,
            self.center_zyx_px[rows],
            self.euler_zyz_deg[rows],
            self.mask,
        )


def embed_averages(
    store: str | Path,
    averages_dir: str | Path,
    out_dir: str | Path,
    *,
    clusters: Sequence[int] = (),
    smooth_angstrom: float = 0.0,
    threshold: float | None = None,
    per_cluster: bool = False,
) -> list[EmbeddedTomogram]:
    """Put the averages of clusters back into every tomogram that holds members of them.

    For each tomogram, ``out_dir`` gets ``NAME_density.mrc`` (0: empty, 1: surface of a particle),
    ``NAME_labels.mrc`` (numbers of clusters) and ``NAME.cxc``, which shows both in ChimeraX; if
    asked for, also ``NAME_cluster_01.mrc`` and so on, the density of one cluster alone.

    Parameters
    ----------
    store : path
        From which the averages were made.
    averages_dir : path
        As `average_store` writes it.
    out_dir : path
    clusters : sequence of int
        Numbers from 1; all that were averaged, unless given.
    smooth_angstrom, threshold
        As in `embed_tomogram`.
    per_cluster : bool
        Whether to write the density of each cluster.

    Raises
    ------
    InputError
        If the averages are not there or no cubes, poses are missing, or the size of a tomogram is
        unknown.
    """
    averages_dir, out_dir = Path(averages_dir), Path(out_dir)
    numbers = _numbers(averages_dir, clusters)
    with open_store(store) as source:
        tomograms = _of_known_size(source.particles(), Path(store).name)
    read = [_read_cluster(averages_dir, number, tomograms) for number in numbers]
    embedded = []
    safe = file_parts(tomograms)
    for name, info in tomograms.items():
        placed = [one.placed_in(name) for one in read if name in one.tomogram_name]
        if placed:
            n = sum(len(one.center_zyx_px) for one in placed)
            say(f"{name}: {n} particles of {len(placed)} clusters")
            options = {"smooth_angstrom": smooth_angstrom, "threshold": threshold}
            embedded.append(_embed(placed, info, out_dir, safe[name], per_cluster, options))
    return embedded


def _numbers(folder: Path, wanted: Sequence[int]) -> list[int]:
    if not (folder / _TABLE).is_file():
        raise InputError(
            f"{folder} holds no {_TABLE}; give the folder that the average command wrote."
        )
    rows = read_rows_csv(folder / _TABLE)
    if "cluster" not in rows[0]:
        raise InputError(f"{folder / _TABLE} has no column cluster; average the clusters again.")
    made = [row["cluster"] for row in rows if not row.get("error")]
    known = to_whole_numbers(made, _TABLE, "cluster").tolist()
    unknown = [number for number in wanted if number not in known]
    if unknown or not known:
        raise InputError(
            f"there is no average of cluster {unknown[0] if unknown else 1}; {folder} holds "
            f"{', '.join(map(str, known)) or 'none'}."
        )
    return sorted(set(wanted)) or known


def _of_known_size(particles: ParticleSet, store_name: str) -> dict[str, TomogramInfo]:
    names = np.unique(particles.tomogram_name).tolist()
    found = {name: info for name, info in particles.tomograms.items() if name in names}
    unknown = [n for n in names if n not in found or found[n].shape_zyx is None]
    if unknown:
        raise InputError(
            f"{store_name} does not know the size of tomogram {unknown[0]}; extract the "
            "subtomograms again from the tomogram itself."
        )
    return found


def _read_cluster(
    averages_dir: Path, number: int, tomograms: Mapping[str, TomogramInfo]
) -> _Cluster:
    folder = averages_dir / f"cluster_{number:02d}"
    star = folder / "particles.star"
    if not star.is_file():
        raise InputError(
            f"{folder} holds no particles.star, so it is not known where the members lie; average "
            "a store that holds positions."
        )
    particles = read_particles_star(star, tomograms=tomograms)
    if particles.euler_zyz_deg is None:
        raise InputError(
            f"poses missing: {star} holds no angles (rlnAngleRot, rlnAngleTilt, rlnAnglePsi); "
            "average the cluster again."
        )
    mask = folder / "mask.mrc"
    return _Cluster(
        number,
        _open_map(folder / "average.mrc"),
        _open_map(mask).read() if mask.is_file() else None,
        particles.tomogram_name,
        particles.center_zyx_px,
        particles.euler_zyz_deg,
    )


def _open_map(path: Path) -> Tomogram:
    return open_tomogram(path, tilt_range_deg=_ANY_TILT_RANGE_DEG)


def _embed(
    placed: Sequence[PlacedAverage],
    tomogram: TomogramInfo,
    out_dir: Path,
    start: str,
    per_cluster: bool,
    options: Mapping[str, float | None],
) -> EmbeddedTomogram:
    density, labels = out_dir / f"{start}_density.mrc", out_dir / f"{start}_labels.mrc"
    embed_tomogram(placed, tomogram, density, labels, **options)  # type: ignore[arg-type]
    clusters = {}
    for one in placed if per_cluster else ():
        clusters[one.number] = out_dir / f"{start}_cluster_{one.number:02d}.mrc"
        embed_tomogram([one], tomogram, clusters[one.number], **options)  # type: ignore[arg-type]
    script = out_dir / f"{start}.cxc"
    numbers = [one.number for one in placed]
    shown = clusters or ({numbers[0]: density} if len(numbers) == 1 else {})
    write_text(script, chimerax_script(out_dir, tomogram, numbers, labels, shown))
    n_particles = sum(len(one.center_zyx_px) for one in placed)
    return EmbeddedTomogram(tomogram.name, n_particles, density, labels, script, clusters)
