"""The files of an averaged cluster."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aitom_disca.alignment.to_reference import AlignedPoses
from aitom_disca.averaging.validation import JudgedAverage
from aitom_disca.config import RelionVersion
from aitom_disca.curation.averages import AVERAGES_TABLE, MADE_OF
from aitom_disca.curation.cluster_names_in_files import with_cluster_names
from aitom_disca.errors import InputError
from aitom_disca.geometry.rotations import euler_zyz_deg_from_rotation
from aitom_disca.io import replacing, write_particles_star, write_rows_csv
from aitom_disca.io.formats.relion.optics_groups import OPTICS_KEY
from aitom_disca.io.formats.relion.star_blocks import (
    ANGLE_COLUMNS,
    GROUP_COLUMN,
    ORIGIN_ANGST_COLUMNS,
)
from aitom_disca.io.formats.relion.subtomogram_images import written_images
from aitom_disca.io.formats.relion.write_optics import optics_of_images
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.io.tomograms.mrc import write_volume
from aitom_disca.particles import ParticleSet, concatenate
from aitom_disca.progress import say

_IMAGES = "subtomograms"
HALF_COLUMN = "rlnRandomSubset"


def write_average(
    folder: Path, cluster: int, judged: JudgedAverage, voxel_size_angstrom: float
) -> None:
    """Write maps, curves and pictures of a cluster."""
    voxel = voxel_size_angstrom
    found = judged.found
    volumes = {
        "average": found.average,
        "filtered": judged.filtered,
        "half1": found.half1,
        "half2": found.half2,
        "mask": judged.mask,
    }
    for name, one in judged.compared.items():
        volumes[f"compared_{name}"] = one.aligned
    for name, volume in volumes.items():
        write_volume(folder / f"{name}.mrc", volume, voxel)
    write_rows_csv(folder / "fsc.csv", _fsc_rows(judged))
    for name, png in _pictures(cluster, judged, voxel).items():
        with replacing(folder / f"{name}.png") as temporary:
            temporary.write_bytes(png)


def averages_there(out: Path) -> list[Path]:
    """All files in a folder that averaging into it could replace or remove."""
    from aitom_disca.pipeline.spatial_tables import space_files_there

    found = [
        path
        for path in (out / AVERAGES_TABLE, out / MADE_OF, out / "particles.star", out / _IMAGES)
        if path.exists()
    ]
    return [*found, *sorted(out.glob("cluster_[0-9]*/*")), *space_files_there(out / "space")]


def write_members(
    folder: Path,
    source: SubtomogramStore,
    cluster: int,
    rows: np.ndarray,
    poses: AlignedPoses,
    half: np.ndarray,
    relion: RelionVersion,
    images: Path | None = None,
    names: Mapping[int, str] | None = None,
) -> ParticleSet | None:
    """Write the star file of a cluster's members and, into ``images``, their subtomograms.

    ``names`` are those of clusters, by their number from 1.

    Without positions and images there is no star file: poses go into ``poses.csv``, None returns.
    """
    members = with_cluster_names(members_of(source, cluster, rows, poses, half), names or {})
    if images is not None:
        members = written_images(source, images, members, rows, relion)
    elif not _is_placed(members) and source.image_name is not None:
        members = _with_own_images(source, members, rows)
    if not _is_placed(members) and "rlnImageName" not in members.more:
        path = write_poses(folder, source, rows, poses)
        say(f"the store holds no positions: angles and shifts written to {path}")
        return None
    write_star(folder / "particles.star", members, relion)
    return members


def _pictures(cluster: int, judged: JudgedAverage, voxel_size_angstrom: float) -> dict[str, bytes]:
    from aitom_disca.colours import cluster_colour
    from aitom_disca.report.figures import draw_orthoslices
    from aitom_disca.report.fsc_figure import draw_fsc
    from aitom_disca.report.isosurface import draw_isosurface

    colour = cluster_colour(cluster)
    pictures = {
        "fsc": draw_fsc(judged.fsc),
        "slices": draw_orthoslices(judged.filtered, voxel_size_angstrom),
    }
    with suppress(InputError):  # halves that share nothing leave a map without a surface
        pictures["surface"] = draw_isosurface(judged.filtered, voxel_size_angstrom, colour=colour)
    return pictures


def members_of(
    source: SubtomogramStore,
    cluster: int,
    rows: np.ndarray,
    poses: AlignedPoses,
    half: np.ndarray,
) -> ParticleSet:
    """The members of a cluster with their poses, and the half of the average that each is in."""
    particles = posed(source.particles().select(rows), poses, source.voxel_size_angstrom)
    particles = replace(particles, more={**particles.more, HALF_COLUMN: half + 1})
    return particles.with_clusters(np.full(len(particles), cluster), particles.posterior)


def _is_placed(particles: ParticleSet) -> bool:
    return particles.has_positions or particles.centered_xyz_angstrom is not None


def _with_own_images(
    source: SubtomogramStore, members: ParticleSet, rows: np.ndarray
) -> ParticleSet:
    """Members with the files that their subtomograms came from; nothing says their wedges."""
    assert source.image_name is not None  # noqa: S101  asked by the caller
    optics, group = optics_of_images(members, source.voxel_size_angstrom, source.box_shape_zyx[0])
    more = {**members.more, "rlnImageName": source.image_name[rows], GROUP_COLUMN: group}
    return replace(members, more=more, more_blocks={**members.more_blocks, OPTICS_KEY: optics})


def write_poses(
    folder: Path, source: SubtomogramStore, rows: np.ndarray, poses: AlignedPoses
) -> Path:
    """Write angles and shifts of members by the row of the store, into ``poses.csv``.

    A shift leads from the middle of the box to the particle.
    """
    angles = dict(zip(ANGLE_COLUMNS, euler_zyz_deg_from_rotation(poses.rotations).T, strict=True))
    shifts_angstrom = poses.shifts_zyx_px[:, ::-1] * source.voxel_size_angstrom
    shifts = {f"shift_{axis}_angstrom": shifts_angstrom[:, i] for i, axis in enumerate("xyz")}
    table = pd.DataFrame({"index": rows, **angles, **shifts, "score": poses.score})
    write_rows_csv(folder / "poses.csv", table.round(6).to_dict("records"))  # type: ignore[arg-type]
    return folder / "poses.csv"


def write_star(path: Path, particles: ParticleSet, relion: RelionVersion) -> None:
    """Write particles; those that are only known from the tomogram's centre for RELION 5.

    With images and no positions in voxels it is 3.1, for which images need no positions.
    """
    version: RelionVersion = relion
    if not particles.has_positions:
        version = "3.1" if "rlnImageName" in particles.more else "5"
    write_particles_star(path, particles, relion=version)


def write_all(folder: Path, members: list[ParticleSet], relion: RelionVersion) -> None:
    """Write what the members of all clusters say together: a star file, and how they lie.

    ``folder/space`` holds the directions from which every cluster is seen, and the distances
    between clusters.
    """
    from aitom_disca.pipeline.spatial_tables import write_space

    if not members:
        return
    together = concatenate(members)
    write_star(folder / "particles.star", together, relion)
    if together.has_positions:
        write_space(together, folder / "space")


def posed(particles: ParticleSet, poses: AlignedPoses, voxel_size_angstrom: float) -> ParticleSet:
    """Particles with the angles that alignment found, at the places that it found.

    Alignment counts from the middle of the box, which is the voxel nearest to where the particle
    was picked. Without positions the way from there is in ``rlnOriginXAngst`` and so on.

    Parameters
    ----------
    particles : ParticleSet
        The members, in order.
    poses : AlignedPoses
    voxel_size_angstrom : float
        Of the subtomograms.
    """
    moved_angstrom = poses.shifts_zyx_px * voxel_size_angstrom
    sizes = [
        particles.tomograms[name].voxel_size_angstrom if name in particles.tomograms else np.nan
        for name in particles.tomogram_name
    ]
    boxes, centred = particles.cut_at_zyx_px, particles.centered_xyz_angstrom
    origins = dict(zip(ORIGIN_ANGST_COLUMNS, -moved_angstrom.T[::-1], strict=True))
    return replace(
        particles,
        center_zyx_px=boxes + moved_angstrom / np.array(sizes)[:, None],
        box_center_zyx_px=boxes if particles.has_positions else None,
        centered_xyz_angstrom=None if centred is None else centred + moved_angstrom[:, ::-1],
        euler_zyz_deg=euler_zyz_deg_from_rotation(poses.rotations),
        more=particles.more if particles.has_positions else {**particles.more, **origins},
    )


def _fsc_rows(judged: JudgedAverage) -> list[dict[str, Any]]:
    fsc = judged.fsc
    names = ("unmasked", "masked", "randomised", "corrected")
    curves = {name: getattr(fsc, name).correlation for name in names}
    curves |= {"along": judged.along.correlation, "across": judged.across.correlation}
    for name, one in judged.compared.items():
        curves[f"with_{name}"] = one.curve.correlation
    frequency = fsc.unmasked.frequency_per_angstrom
    return [
        {"frequency_per_angstrom": float(f)} | {n: float(c[i]) for n, c in curves.items()}
        for i, f in enumerate(frequency)
    ]
