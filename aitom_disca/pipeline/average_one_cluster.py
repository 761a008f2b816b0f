"""Average the members of one cluster, and lay those on it that were not looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.to_reference import AlignedPoses, align_to_reference
from aitom_disca.averaging.gold_standard import FEWEST_MEMBERS
from aitom_disca.averaging.masks import sphere_round_particle
from aitom_disca.averaging.validation import JudgedAverage
from aitom_disca.computing.reading_ahead import read_ahead
from aitom_disca.config import AverageSettings
from aitom_disca.geometry.wedge import tilt_ranges_of
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.mining.sort_store import drawn_rows
from aitom_disca.picking import without_duplicates
from aitom_disca.pipeline.average_files import posed
from aitom_disca.pipeline.average_inputs import groups_of
from aitom_disca.pipeline.average_tables import Averaged
from aitom_disca.progress import say, track

_LAID_AT_ONCE = 500
_NEAREST_IN_BOX = 0.25  # of the box edge, which is 1.6 diameters of the particle
_LEAST_FREQUENCY = 5.0  # in steps of 1 / box


def average_members(
    source: SubtomogramStore,
    k: int,
    rows: np.ndarray,
    settings: AverageSettings,
    judge: Callable[..., JudgedAverage],
    test: Callable[..., JudgedAverage],
) -> tuple[Averaged, AlignedPoses, np.ndarray]:
    """Average the members of a cluster, again without those that are one particle, picked twice.

    The half (0 or 1) of every member comes last; those that were laid on the average, which was
    made without them, go into either by turns.

    The two picks of a hollow or long particle are drawn to one place by alignment. In different
    halves they would share their noise, and the halves would agree for it. What is left goes on
    from the poses that it had, each half by itself.
    """
    distance = settings.min_distance_angstrom
    if distance is None:
        distance = source.box_shape_zyx[0] * source.voxel_size_angstrom * _NEAREST_IN_BOX
    begin = None
    while True:
        drawn = drawn_rows(len(rows), settings.most, np.random.default_rng(settings.seed))
        volumes, groups = source.read(rows[drawn]), groups_of(source, rows[drawn])
        tilts = tilt_ranges_of(source.tilt_range_deg, rows[drawn])
        judged = judge(volumes, tilt_range_deg=tilts, groups=groups, begin=begin)
        poses = _poses_of_all(source, rows, drawn, judged, settings)
        members = posed(source.particles().select(rows), poses, source.voxel_size_angstrom)
        stays = without_duplicates(replace(members, score=poses.score), distance)
        if stays.all() or stays.sum() < FEWEST_MEMBERS:
            half = np.arange(len(rows)) % 2
            half[drawn] = judged.found.half
            return Averaged(k, rows, test(judged, volumes, tilts, groups=groups)), poses, half
        n_gone = int((~stays).sum())
        say(f"{n_gone} of {len(rows)} are particles picked twice; averaged again without them")
        begin = judged.found.poses_of(stays) if len(drawn) == len(rows) else None
        rows = rows[stays]


def _poses_of_all(
    source: SubtomogramStore,
    rows: np.ndarray,
    drawn: np.ndarray,
    judged: JudgedAverage,
    settings: AverageSettings,
) -> AlignedPoses:
    """Poses of all members: those that were averaged, and the others laid on the average."""
    found = judged.found
    rest = np.setdiff1d(np.arange(len(rows)), drawn)
    quaternions, score = np.empty((len(rows), 4)), np.empty(len(rows))
    shifts_zyx_px = np.empty((len(rows), 3))
    quaternions[drawn] = found.rotations.as_quat()
    shifts_zyx_px[drawn], score[drawn] = found.shifts_zyx_px, found.score
    box_px = source.box_shape_zyx[0]
    edge_angstrom = box_px * source.voxel_size_angstrom
    finest = judged.fsc.corrected.resolution_angstrom(0.143)
    largest = max(edge_angstrom / finest, _LEAST_FREQUENCY)
    pieces = np.split(rest, range(_LAID_AT_ONCE, len(rest), _LAID_AT_ONCE)) if len(rest) else []
    coming = read_ahead(lambda piece: source.read(rows[piece]), pieces)
    laying = track(coming, "laying other members on the average", len(pieces)) if pieces else ()
    for piece, volumes in laying:
        laid = align_to_reference(
            volumes,
            judged.filtered * sphere_round_particle(box_px, judged.mask_diameter_px),
            tilt_ranges_of(source.tilt_range_deg, rows[piece]),
            largest_frequency=largest,
            fall_off=found.fall_off,
            settings=settings.constants,
        )
        quaternions[piece] = laid.rotations.as_quat()
        shifts_zyx_px[piece], score[piece] = laid.shifts_zyx_px, laid.score
    return AlignedPoses(Rotation.from_quat(quaternions), shifts_zyx_px, score)
