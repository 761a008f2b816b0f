"""Averages among neighbours: whether they follow the particle, its neighbours or the wedge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.bench.case_data import TemplateSet
from aitom_disca.geometry import apply_wedge, random_rotations
from aitom_disca.geometry.fall_off_with_tilt import TILTS_DEG, FallOff, weighed_by_tilt
from aitom_disca.geometry.symmetry import point_group
from aitom_disca.progress import muted
from aitom_disca.simulation.phantoms import Phantom, Template

Row = dict[str, Any]
# Structure, SNR, box, voxel size of what is averaged in masks, and what lies beside it.
CROWDED = (("1qvr", 0.03, 24, 14.0), ("1u6g", 0.05, 20, 12.0), ("4v4r", 0.02, 32, 14.0))
NEIGHBOURS = ("1bxn", "3j9i", "1qvr", "1u6g", "3cf3", "4v4r")
_TILT_RANGE_DEG, _NARROW = (-60.0, 60.0), (-50.0, 50.0)
_LOW_SNR, _RIGHT_DEG = 0.05, 20.0


@dataclass(frozen=True)
class Crowded:
    """Subtomograms of one structure among neighbours of other kinds, with the truth.

    Parameters
    ----------
    volumes : ndarray of float32, shape (N, n, n, n)
        Zero mean and unit variance each.
    rotations : Rotation of N rotations
    shifts_zyx_px : ndarray of shape (N, 3)
    """

    volumes: np.ndarray
    rotations: Rotation
    shifts_zyx_px: np.ndarray


def crowded_subtomograms(
    template: Template,
    neighbours: Sequence[Template],
    n: int,
    box_px: int,
    voxel_size_angstrom: float,
    snr: float,
    *,
    n_neighbours: tuple[int, int] = (3, 5),
    tilt_range_deg: tuple[float, float] = (-60.0, 60.0),
    fall_off: FallOff | None = None,
    shift_max_px: float = 1.5,
    seed: int = 0,
) -> Crowded:
    """Simulate subtomograms with other particles at the sides and in the corners of the box.

    Parameters
    ----------
    template : Template
        What lies in the middle.
    neighbours : sequence of Template
        What lies beside it, drawn at random, so that the two do not touch.
    n, box_px : int
    voxel_size_angstrom : float
    snr : float
        Variance of the particle itself over that of the noise, in the box, both after the wedge.
    n_neighbours : tuple of 2 ints
        Fewest and most.
    tilt_range_deg : tuple of 2 floats
    fall_off : FallOff, optional
        Of noise and signal with tilt; none behind a binary wedge. The SNR is that before it.
    shift_max_px : float
        Of the particle, along each axis.
    seed : int
    """
    rng = np.random.default_rng(seed)
    rotations = random_rotations(n, rng)
    shifts = rng.uniform(-shift_max_px, shift_max_px, (n, 3))
    volumes = np.empty((n, box_px, box_px, box_px), np.float32)
    for i in range(n):
        signal = template.density(box_px, voxel_size_angstrom, rotations[i], shifts[i])
        variance = apply_wedge(signal, tilt_range_deg).var()
        taken = [(shifts[i], template.radius_angstrom / voxel_size_angstrom)]
        for _ in range(rng.integers(n_neighbours[0], n_neighbours[1] + 1)):
            other = neighbours[int(rng.integers(len(neighbours)))]
            place = _free_place(taken, other.radius_angstrom / voxel_size_angstrom, box_px, rng)
            if place is not None:
                turn = random_rotations(1, rng)[0]
                signal = signal + other.density(box_px, voxel_size_angstrom, turn, place)
        noise = apply_wedge(rng.standard_normal(signal.shape, np.float32), tilt_range_deg)
        noise *= np.sqrt(variance / snr) / noise.std()
        seen = apply_wedge(signal, tilt_range_deg)
        if fall_off is not None:
            seen = weighed_by_tilt(seen, fall_off.signal * fall_off.noise)
            noise = weighed_by_tilt(noise, fall_off.noise)
        volume = seen + noise
        volumes[i] = (volume - volume.mean()) / volume.std()
    return Crowded(volumes, rotations, shifts)


def falling_off(noise: float, signal: float, tilt_deg: float = 60.0) -> FallOff:
    """Amplitudes that fall off as a Gaussian of the tilt, to these at a tilt."""
    noise_by_tilt, signal_by_tilt = (
        least ** ((TILTS_DEG / tilt_deg) ** 2) for least in (noise, signal)
    )
    return FallOff(noise_by_tilt, signal_by_tilt)


def _free_place(
    taken: list[tuple[np.ndarray, float]], radius_px: float, box_px: int, rng: np.random.Generator
) -> np.ndarray | None:
    """A place, partly inside of the box, that touches nothing; it is taken from now on."""
    for _ in range(200):
        place = rng.uniform(-0.7 * box_px, 0.7 * box_px, 3)
        inside = np.linalg.norm(place) - radius_px < 0.75 * box_px
        if inside and all(np.linalg.norm(place - p) > radius_px + r for p, r in taken):
            taken.append((place, radius_px))
            return place
    return None


def measure_masks(
    templates: TemplateSet, *, n: int = 60, seeds: Sequence[int] = (0, 1, 2)
) -> Iterator[Row]:
    """Averages of crowded subtomograms, in a soft sphere of the particle's size and without.

    Yields
    ------
    dict
        Of each structure, SNR, seed and mask: how the poses and the average fit the truth.
    """
    from aitom_disca.averaging.compare_maps import compare_with_map
    from aitom_disca.averaging.gold_standard import average_cluster
    from aitom_disca.averaging.masks import default_diameter_px

    for name, snr, box_px, voxel in CROWDED:
        (template,) = templates.take([name])
        others = templates.take([other for other in NEIGHBOURS if other != name])
        truth = template.density(box_px, voxel)
        for seed in seeds:
            made = crowded_subtomograms(template, others, n, box_px, voxel, snr, seed=seed)
            for diameter_px in (None, default_diameter_px(box_px)):
                with muted():
                    found = average_cluster(
                        made.volumes, _TILT_RANGE_DEG, mask_diameter_px=diameter_px, seed=seed
                    )
                compared = compare_with_map(
                    found.average, truth, voxel_size_angstrom=voxel, known_voxel_size_angstrom=voxel
                )
                turned = found.rotations * compared.rotation * made.rotations.inv()
                error_deg = np.rad2deg(turned.magnitude())
                yield {
                    "structure": name,
                    "snr": snr,
                    "seed": seed,
                    "mask": diameter_px is not None,
                    "median_error_deg": float(np.median(error_deg)),
                    "below_20_deg": float((error_deg < _RIGHT_DEG).mean()),
                    "correlation": compared.correlation,
                }


def measure_wedge_bias(
    templates: TemplateSet,
    *,
    n: int = 80,
    seeds: Sequence[int] = (0, 1, 2),
    tilt_range_deg: tuple[float, float] = _NARROW,
    fall_off: FallOff | None = None,
    graded_wedge: bool = True,
) -> Iterator[Row]:
    """Whether poses and averages of crowded particles behind a wide wedge are even.

    Hollow shells of the size of apoferritin, and ribosomes.

    Yields
    ------
    dict
        Of each structure and seed: figures of `pose_gathering`, how far the average lies from the
        centre of its box, and its resolution along the axis of the beam and across.
    """
    from aitom_disca.analysis.wedge_bias import pose_gathering
    from aitom_disca.averaging.compare_maps import compare_with_map
    from aitom_disca.averaging.directional_fsc import along_and_across
    from aitom_disca.averaging.gold_standard import average_cluster
    from aitom_disca.averaging.masks import default_diameter_px, sphere_round_particle
    from aitom_disca.classification.centring import dense_centre

    (ribosome,) = templates.take(["4v4r"])
    cases = (("shell", hollow_shell(), 20, 13.0), ("4v4r", ribosome, 28, 16.0))
    others = templates.take(NEIGHBOURS)
    for name, template, box_px, voxel in cases:
        for seed in seeds:
            made = crowded_subtomograms(
                template,
                others,
                n,
                box_px,
                voxel,
                _LOW_SNR,
                tilt_range_deg=tilt_range_deg,
                fall_off=fall_off,
                seed=seed,
            )
            diameter_px = default_diameter_px(box_px)
            with muted():
                found = average_cluster(
                    made.volumes,
                    tilt_range_deg,
                    mask_diameter_px=diameter_px,
                    fall_off="measured" if graded_wedge else None,
                    seed=seed,
                )
            gathered = pose_gathering(found.rotations)
            mask = sphere_round_particle(box_px, diameter_px)
            halves = found.half1 * mask, found.half2 * mask
            along, across = along_and_across(*halves, gathered.beam_axis_xyz, voxel)
            truth = template.density(box_px, voxel)
            compared = compare_with_map(
                found.average, truth, voxel_size_angstrom=voxel, known_voxel_size_angstrom=voxel
            )
            off_px = np.linalg.norm(dense_centre(found.average, diameter_px=diameter_px))
            yield (
                {"structure": name, "seed": seed}
                | gathered.row()
                | {
                    "near_one_view": gathered.near_beam_axis / n,
                    "correlation": compared.correlation,
                    "true_tilt_p": pose_gathering(made.rotations).tilt_p,
                    "off_centre_px": float(off_px),
                    "along_angstrom": along.resolution_angstrom(0.143),
                    "across_angstrom": across.resolution_angstrom(0.143),
                }
            )


def hollow_shell(radius_angstrom: float = 50.0, ball_angstrom: float = 16.0) -> Phantom:
    """24 balls on a sphere, one at every operation of the octahedral group, as in apoferritin."""
    start = np.array([0.36, 0.15, 0.92])
    places = point_group("O").apply(radius_angstrom * start / np.linalg.norm(start))
    return Phantom("shell", "hollow", places, places, np.full(len(places), ball_angstrom))
