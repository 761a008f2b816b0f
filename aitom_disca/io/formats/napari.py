"""Points of a napari layer (.csv): a view of positions, not read again.

Columns are index, axis-0, axis-1, axis-2 (z, y, x in voxels of the tomogram, from 0) and what else
is known of every particle. Open it on the tomogram, with the scale of both layers the same.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.formats.common_columns import numbers_from_1
from aitom_disca.io.formats.file_text import one_file_per_tomogram
from aitom_disca.io.formats.format import CLUSTER, POSE, SCORE, Format, Known, need_positions
from aitom_disca.particles import ParticleSet


def write(path: Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write a table for every tomogram; clusters count from 1, 0 for none.

    Raises
    ------
    InputError
        If positions in voxels are not known.
    """
    need_positions(particles, "a napari layer")
    written = []
    for own, _, members in one_file_per_tomogram(path, particles):
        write_text(own, _text(members))
        written.append(own)
    return written


def _text(members: ParticleSet) -> str:
    axes = [f"axis-{i}" for i in range(3)]
    columns = {"index": np.arange(len(members))}
    columns |= dict(zip(axes, members.center_zyx_px.T, strict=True))
    if members.cluster is not None:
        columns["cluster"] = numbers_from_1(members)
    if members.score is not None:
        columns["score"] = np.asarray(members.score)
    if members.euler_zyz_deg is not None:
        columns |= zip(("rot", "tilt", "psi"), np.asarray(members.euler_zyz_deg).T, strict=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return text.getvalue()


FORMAT = Format(
    name="napari",
    title="napari points",
    suffixes=(".csv",),
    recognises=lambda path: False,
    write=write,
    keeps=frozenset({POSE, SCORE, CLUSTER}),
    one_tomogram=True,
)
