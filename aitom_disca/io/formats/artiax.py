"""A command script (.cxc) that shows the particles with ArtiaX, a plugin of ChimeraX: a view.

Beside it lies a RELION 3.1 star file for every cluster, which ArtiaX opens as a list. It shows all
particles of a file in one tomogram, and wants names of tomograms that end in ``_`` and a number;
others are called otherwise in these star files, and a comment in the script says so.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.file_names import file_part
from aitom_disca.io.formats.chimerax import clusters
from aitom_disca.io.formats.chimerax_script import can_be_quoted, one_line, quoted
from aitom_disca.io.formats.file_text import one_file_per_tomogram
from aitom_disca.io.formats.format import CLUSTER, POSE, SCORE, Format, Known, need_positions
from aitom_disca.io.formats.relion import relion31
from aitom_disca.particles import ParticleSet, TomogramInfo


def write(path: Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write a script and star files for every tomogram.

    Raises
    ------
    InputError
        If positions in voxels or a voxel size are not known.
    """
    need_positions(particles, "an ArtiaX script")
    written: list[Path] = []
    for number, (own, name, members) in enumerate(one_file_per_tomogram(path, particles), 1):
        info = known.info(name, members)
        called = name_for_artiax(name, number)
        lines = [
            f"# {one_line(name)}: particles in their places. It needs the plugin ArtiaX.",
            "artiax start",
        ]
        if called != name:
            lines.insert(1, f"# In the star files the tomogram is called {called}, for ArtiaX.")
        lines += _tomogram_lines(own, info)
        stars = []
        for i, (_, suffix, colour, rows) in enumerate(clusters(members), 1):
            stars.append(own.with_name(f"{own.stem}{suffix or '_particles'}.star"))
            _write_star(stars[-1], members.select(rows), called, info)
            lines += [
                f"open {quoted(stars[-1].name)} format relion",
                f"artiax particles #1.2.{i} originScaleFactor {info.voxel_size_angstrom:.6g} "
                f"transScaleFactor 1 color {colour}",
            ]
        write_text(own, "\n".join([*lines, "view"]) + "\n")
        written += [own, *stars]
    return written


def name_for_artiax(name: str, number: int) -> str:
    """A tomogram's name that ends in an underscore and a number: its own, if it does."""
    if re.fullmatch(r"\S+_\d+", name):
        return name
    return f"{file_part(name)}_{number}"


def _tomogram_lines(script: Path, info: TomogramInfo) -> list[str]:
    if info.path is None or not info.path.is_file():
        return ["# The tomogram's own file was not found; open it here to see both."]
    name = one_line(info.path.name)
    if info.path.suffix in (".gz", ".bz2"):  # an error would end the script
        return [f"# ArtiaX opens no packed maps; unpack {name} to see both."]
    if not can_be_quoted(info.path):
        return [f"# No script can open {name}, for the signs in its name; open it here."]
    relative = os.path.relpath(info.path.resolve(), script.resolve().parent)
    return [
        f"# Particles fit if its header says {info.voxel_size_angstrom:.6g} Angstrom and origin 0.",
        f"artiax open tomo {quoted(Path(relative).as_posix())}",
    ]


def _write_star(path: Path, members: ParticleSet, called: str, info: TomogramInfo) -> None:
    renamed = replace(
        members,
        tomogram_name=np.full(len(members), called),
        tomograms={called: replace(info, name=called)},
    )
    write_text(path, relion31.text_of(renamed, Known(), at_voxels=False))


FORMAT = Format(
    name="artiax",
    title="ArtiaX script",
    suffixes=(".cxc",),
    recognises=lambda path: False,
    write=write,
    keeps=frozenset({POSE, SCORE, CLUSTER}),
    one_tomogram=True,
)
