"""A command script for ChimeraX (.cxc) that shows the particles in their tomogram: a view.

It uses core commands and marker files (.cmm), one for every cluster. A particle is a sphere in the
colour that its cluster has in the report; a rod along its reference's z axis shows its pose.
ChimeraX counts in Angstrom: voxel ``i`` from 0 is at ``i`` times the voxel size, for which the
script sets the tomogram's own origin to 0.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.formats.chimerax_script import Script, one_line, show_tomogram_in
from aitom_disca.io.formats.common_columns import rotations
from aitom_disca.io.formats.file_text import one_file_per_tomogram
from aitom_disca.io.formats.format import CLUSTER, Format, Known, need_positions
from aitom_disca.particles import ParticleSet, TomogramInfo

_RADIUS_PX = 4.0  # of a sphere, where no box is known


def write(path: Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write a script for every tomogram, and beside it ``STEM_cluster_01.cmm`` and so on.

    Spheres have a quarter of ``known.box_px`` as radius.

    Raises
    ------
    InputError
        If positions in voxels or a voxel size are not known.
    """
    need_positions(particles, "a ChimeraX script")
    written: list[Path] = []
    for own, name, members in one_file_per_tomogram(path, particles):
        info = known.info(name, members)
        script = Script(own.parent)
        script.add(
            f"# {one_line(name)}: particles in their places, in the colours of the report.",
            "# Open it with File > Open. Models are counted from #1, so begin with an empty",
            "# session.",
            "set bgColor white",
        )
        show_tomogram(script, info)
        radius = (known.box_px / 4 if known.box_px else _RADIUS_PX) * info.voxel_size_angstrom
        markers = []
        for title, suffix, colour, rows in clusters(members):
            markers.append(own.with_name(f"{own.stem}{suffix or '_particles'}.cmm"))
            write_text(markers[-1], _markers(members.select(rows), title, colour, info, radius))
            script.open(markers[-1], title)
        script.add("lighting soft", "view")
        write_text(own, "\n".join(script.lines) + "\n")
        written += [own, *markers]
    return written


def show_tomogram(script: Script, info: TomogramInfo) -> None:
    """Open a tomogram whose file is there, with voxel 0 at the origin."""
    before = len(script.lines)
    show_tomogram_in(script, info)
    if any(line.startswith("open ") for line in script.lines[before:]):
        script.add(f"volume #1 voxelSize {info.voxel_size_angstrom:.6g} originIndex 0,0,0")


def clusters(members: ParticleSet) -> list[tuple[str, str, str, np.ndarray]]:
    """Title, part of a file's name, colour and rows of every cluster; all in one if none are."""
    from aitom_disca.colours import cluster_colour

    if members.cluster is None:
        return [("particles", "", cluster_colour(0), np.full(len(members), True))]
    found = []
    for number in sorted(np.unique(members.cluster).tolist(), key=lambda c: (c < 0, c)):
        title = f"cluster {number + 1}" if number >= 0 else "no cluster"
        suffix = f"_cluster_{number + 1:02d}" if number >= 0 else "_no_cluster"
        found.append((title, suffix, cluster_colour(number), members.cluster == number))
    return found


def _markers(
    members: ParticleSet, title: str, colour: str, info: TomogramInfo, radius: float
) -> str:
    """Text of a marker file."""
    parts = zip("rgb", (colour[1:3], colour[3:5], colour[5:7]), strict=True)
    shown = {name: f"{int(part, 16) / 255:.4f}" for name, part in parts}
    root = ET.Element("marker_set", name=title)
    center = members.center_zyx_px[:, ::-1] * info.voxel_size_angstrom
    n = len(members)
    for i in range(n):
        _add_marker(root, i + 1, center[i], radius, shown)
    if members.euler_zyz_deg is not None:
        tips = center + 2 * radius * rotations(members).apply([0.0, 0.0, 1.0])
        for i in range(n):
            _add_marker(root, n + i + 1, tips[i], radius / 4, shown)
        for i in range(n):
            ends = {"id1": str(i + 1), "id2": str(n + i + 1), "radius": f"{radius / 4:.4g}"}
            ET.SubElement(root, "link", ends | shown)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _add_marker(
    root: ET.Element, number: int, xyz: np.ndarray, radius: float, shown: dict[str, str]
) -> None:
    place = {axis: f"{value:.3f}" for axis, value in zip("xyz", xyz, strict=True)}
    ET.SubElement(root, "marker", {"id": str(number)} | place | shown | {"radius": f"{radius:.4g}"})


FORMAT = Format(
    name="chimerax",
    title="ChimeraX script",
    suffixes=(".cxc",),
    recognises=lambda path: False,
    write=write,
    keeps=frozenset({CLUSTER}),
    one_tomogram=True,
)
