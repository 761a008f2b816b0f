"""What a search compares with: the averages of a run, or maps of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.expectation import expect, shell_power, whitened
from aitom_disca.averaging.compare_maps import resample
from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.classification.detail_levels import level_of, search_at
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.geometry.wedge import common_tilt_range, distinct_tilt_ranges
from aitom_disca.io import open_map
from aitom_disca.io.file_names import distinct_parts
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.mining.model_file import Bundle
from aitom_disca.search.candidates import cut_boxes
from aitom_disca.subtomograms.preprocess import in_spheres, mask_edge_px, normalise

BOX_PX = 20  # of the averages: alignment looks at low frequencies only
BOX_DIAMETERS = 1.6
_SAME_VOXEL = 1e-2
_MOST = 300  # candidates that the amplitude of maps is taken from
_BEST = 0.15  # share of them that fit best
_AMPLITUDE = 0.5  # of maps at the start, in whitened units


@dataclass(frozen=True)
class References:
    """Averages to search by.

    Parameters
    ----------
    learnt : LearntAverages
    box_angstrom : float
        Edge of their box.
    names : tuple of K str
    sorting : SortingSettings
        Those that they were found with.
    """

    learnt: LearntAverages
    box_angstrom: float
    names: tuple[str, ...]
    sorting: SortingSettings = SORTING

    @property
    def trusted(self) -> bool:
        """Whether any of them stands out from noise."""
        return len(self.learnt.averages) > 0 and self.learnt.noise_limit > -np.inf


def references_of_run(
    folder: str | Path, voxel_size_angstrom: float, *, rescale: bool = False
) -> References:
    """The averages that a run left in its ``model.h5``.

    Parameters
    ----------
    folder : path
    voxel_size_angstrom : float
        Of the tomograms that are searched.
    rescale : bool
        Whether it may differ from that of the run.

    Raises
    ------
    InputError
        If there is no model, it has no averages, or the voxel size differs.
    """
    path = Path(folder) / "model.h5"
    model = Bundle.load(path)
    if model.learnt is None or model.voxel_size_angstrom is None:
        raise InputError(
            f"{path} holds no averages to search by; give a run of the preset fast, or maps."
        )
    _check_voxel(str(folder), model.voxel_size_angstrom, voxel_size_angstrom, rescale)
    names = tuple(f"{k + 1}" for k in range(len(model.learnt.averages)))
    box_angstrom = model.box_px * model.voxel_size_angstrom * model.learnt.box_share
    return References(model.learnt, box_angstrom, names, model.settings.constants)


def references_of_maps(
    paths: Sequence[str | Path],
    tomograms: Sequence[Tomogram],
    center_zyx_px: Sequence[np.ndarray],
    particle_diameter_angstrom: float,
    *,
    rescale: bool = False,
) -> References:
    """Maps of one's own, whitened by the spectrum of candidates, as strong as these show them.

    The maps are seen through a soft sphere of the particle's diameter. How much of each shell of
    a map the tomograms hold is not known: it is measured on the candidates that fit best.

    Parameters
    ----------
    paths : sequence of path
        MRC files of cubic maps, protein bright, in the middle of their boxes.
    tomograms : sequence of Tomogram
    center_zyx_px : sequence of ndarrays of shape (n, 3)
        Candidates of each tomogram.
    particle_diameter_angstrom : float
    rescale : bool
        Whether voxel sizes may differ.

    Raises
    ------
    InputError
        If a map is not cubic, smaller than the mask, constant, or of another voxel size.
    """
    voxel = tomograms[0].voxel_size_angstrom
    cut_px = 2 * int(np.ceil(BOX_DIAMETERS / 2 * particle_diameter_angstrom / voxel))
    box_px = min(BOX_PX, cut_px)
    radius_px = particle_diameter_angstrom / 2 / voxel * box_px / cut_px
    mask = soft_sphere(box_px, radius_px, mask_edge_px(box_px), "gaussian")
    maps = []
    for path in paths:
        known = open_map(path)
        _check_voxel(str(path), known.voxel_size_angstrom, voxel, rescale)
        maps.append(_boxed(known, cut_px * voxel, box_px, particle_diameter_angstrom) * mask)
    boxes = _some_boxes(tomograms, center_zyx_px, cut_px)
    tilts = np.repeat([t.tilt_range_deg for t in tomograms], [len(b) for b in boxes], axis=0)
    ranges, wedge = distinct_tilt_ranges(tilts, len(tilts))
    search = search_at(level_of(SORTING.fine), box_px, ranges, radius_px)
    seen = in_spheres(fourier_crop(normalise(np.concatenate(boxes)), box_px), radius_px)
    coefficients = search.coefficients
    values, measured = coefficients.of(seen, wedge), coefficients.measured_by(wedge)
    power = shell_power(values, coefficients.shell, measured)
    share = float(np.mean(mask**2))
    values = whitened(values, coefficients.shell, power, measured) * np.float32(share**0.5)
    n = len(values)
    particles = Particles(coefficients, values, np.zeros((n, 3)), np.zeros(n, int), wedge)
    averages = np.stack([_as_strong_as_seen(one, search, particles, power) for one in maps])
    prior = np.full(len(maps), -np.log(len(maps)))
    learnt = LearntAverages(averages, prior, power, 0.0, common_tilt_range(ranges), radius_px)
    return References(
        learnt, cut_px * voxel, tuple(distinct_parts(Path(path).stem for path in paths))
    )


def _check_voxel(name: str, own: float, wanted: float, rescale: bool) -> None:
    if not rescale and abs(own / wanted - 1) > _SAME_VOXEL:
        raise InputError(
            f"{name} has voxels of {own:g} A and the tomograms of {wanted:g} A; add --rescale, or "
            "give averages of the same voxel size."
        )


def _boxed(known: Tomogram, box_angstrom: float, box_px: int, diameter: float) -> np.ndarray:
    """A map in the box and with the voxels of the search."""
    volume, voxel = known.read(), known.voxel_size_angstrom
    if len(set(volume.shape)) > 1 or volume.shape[0] * voxel < diameter:
        raise InputError(
            f"{known.path} has {volume.shape} voxels (z, y, x) of {voxel:g} A; expected a cubic "
            f"map that holds a mask of {diameter:g} A."
        )
    edge = (volume[[0, -1]].mean() + volume[:, [0, -1]].mean() + volume[:, :, [0, -1]].mean()) / 3
    return normalise(resample(volume - edge, voxel, box_angstrom / box_px, box_px))


def _some_boxes(
    tomograms: Sequence[Tomogram], center_zyx_px: Sequence[np.ndarray], cut_px: int
) -> list[np.ndarray]:
    """Boxes of at most so many candidates, evenly from all tomograms, of each of them."""
    most = max(1, _MOST // len(tomograms))
    boxes = []
    for tomogram, centers in zip(tomograms, center_zyx_px, strict=True):
        chosen = centers[np.linspace(0, len(centers) - 1, min(most, len(centers))).astype(int)]
        boxes.append(cut_boxes(tomogram, chosen, cut_px))
    return boxes


def _as_strong_as_seen(
    volume: np.ndarray, search: Search, particles: Particles, power: np.ndarray
) -> np.ndarray:
    """A map in whitened units, each shell with the amplitude that those that fit best show."""
    shell = search.coefficients.shell
    factor = np.zeros(2 * volume.shape[0])
    factor[: len(power)] = 1 / np.sqrt(power / 2)
    factor[len(power) :] = 0
    volume = search.averager.filtered(volume, factor)
    first = None if particles.wedge is None else np.zeros(1, int)
    values = search.coefficients.of(volume[None], first)
    if first is not None:
        values = values[search.coefficients.measured_by(first)]
    spread = np.sqrt((np.abs(values) ** 2).mean())
    volume = volume * (_AMPLITUDE / spread)
    for _ in range(2):
        slices = search.slicer(volume)
        found = expect(particles, slices[None], np.zeros(1), search.shifts_zyx_px, add_up=False)
        best = np.argsort(-found.log_likelihood)[: max(8, int(_BEST * len(particles)))]
        phases = search.coefficients.shift_phases(found.offset_zyx_px[best])
        seen, slices = particles.values[best] * phases, slices[found.rotation[best]]
        if (measured := particles.measured) is not None:
            slices *= measured[best]
        shared = np.bincount(shell, (seen * slices.conj()).real.sum(axis=0))
        own = np.bincount(shell, (np.abs(slices) ** 2).sum(axis=0))
        factor[: len(own)] = np.clip(shared / np.maximum(own, 1e-12), 0, None)
        volume = search.averager.filtered(volume, factor)
    return volume
