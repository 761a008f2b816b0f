"""Levels of detail: what is compared, in which box, through which mask, by which spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.expectation import shell_power, whitened
from aitom_disca.alignment.search_grids import ball, cross, cube
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.config.detail_levels import LevelSettings
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.geometry.wedge import TiltRanges
from aitom_disca.subtomograms.preprocess import in_spheres, mask_edge_px

# How finely is searched: largest frequency, rotations, shifts, rounds at most.
Level = tuple[float, int, np.ndarray, int]


@dataclass(frozen=True)
class Look:
    """What stands between a subtomogram and the coefficients that are compared.

    In a cell other molecules lie in the box. A soft sphere round the particle leaves them out. It
    makes neighbouring coefficients alike: of N there are as many that say something of their own
    as the mask leaves of the box. Each counts by that share, or likelihoods would be too sure.

    Parameters
    ----------
    box_px : int
        Edge of the box.
    mask_radius_px : float
        Of the sphere, in voxels of that box; infinite for none.
    power : ndarray of shape (n_shells,)
        Spectrum by which coefficients are whitened.
    """

    box_px: int
    mask_radius_px: float
    power: np.ndarray

    @classmethod
    def at(
        cls,
        search: Search,
        volumes: np.ndarray,
        mask_radius_px: float,
        wedge: np.ndarray | None = None,
    ) -> Look:
        """The look that whitens these volumes (n, z, y, x), particles in the box centre."""
        look = cls(search.coefficients.box_px, mask_radius_px, np.zeros(0))
        seen = in_spheres(volumes, mask_radius_px)
        coefficients = search.coefficients
        power = shell_power(
            coefficients.of(seen, wedge), coefficients.shell, coefficients.measured_by(wedge)
        )
        return cls(look.box_px, mask_radius_px, power)

    @property
    def share(self) -> float:
        """Share of the box that the mask leaves, 0 to 1, in power."""
        edge_px = mask_edge_px(self.box_px)
        mask = soft_sphere(self.box_px, self.mask_radius_px, edge_px, "gaussian")
        return float(np.mean(mask**2))

    def particles(
        self,
        search: Search,
        volumes: np.ndarray,
        half: np.ndarray,
        offset_zyx_px: np.ndarray | None = None,
        wedge: np.ndarray | None = None,
    ) -> Particles:
        """Volumes (n, z, y, x) as coefficients of a level of detail.

        Parameters
        ----------
        search : Search
        volumes : ndarray of shape (n, z, y, x)
        half : ndarray of int, shape (n,)
        offset_zyx_px : ndarray of shape (n, 3), optional
            Where the particles lie, from the box centre; there, unless given.
        wedge : ndarray of int, shape (n,), optional
            Which of the tilt ranges of the search each has, where there are several.
        """
        if offset_zyx_px is None:
            offset_zyx_px = np.zeros((len(volumes), 3))
        coefficients = search.coefficients
        values = coefficients.of(in_spheres(volumes, self.mask_radius_px, offset_zyx_px), wedge)
        measured = coefficients.measured_by(wedge)
        values = whitened(values, coefficients.shell, self.power, measured)
        values *= np.float32(self.share**0.5)
        return Particles(coefficients, values, offset_zyx_px, half, wedge)


def level_of(detail: LevelSettings, rounds: int = 1) -> Level:
    """A level of detail as settings say it."""
    return detail.radius, detail.n_rotations, cross(detail.shift_step_px), rounds


def search_at(
    level: Level,
    box_px: int,
    tilt_range_deg: TiltRanges,
    mask_radius_px: float = np.inf,
    fall_off: FallOff | None = None,
    settings: SortingSettings = SORTING,
) -> Search:
    """A level of detail in a box."""
    radius, n_rotations, shifts_zyx_px, rounds = level
    radius = min(radius, box_px / 2 - 1)
    return Search(
        box_px,
        radius,
        tilt_range_deg,
        n_rotations,
        shifts_zyx_px,
        rounds,
        mask_radius_px,
        fall_off,
        settings,
    )


def one_rotation(level: Level) -> Level:
    """The same level with one rotation, for what is not turned."""
    return (level[0], 1, *level[2:])


def wide_search(coarse: Search) -> Search:
    """The same detail over the whole range of shifts."""
    wide = coarse.settings.wide
    return coarse.trying(ball(wide.shift_step_px, wide.range_px), 1)


@dataclass(frozen=True)
class Levels:
    """How finely is looked: coarse, fine, coarse over the whole range of shifts, and at first."""

    coarse: Search
    fine: Search
    wide: Search
    first: Search

    @classmethod
    def of(
        cls,
        box_px: int,
        tilt_range_deg: TiltRanges,
        mask_radius_px: float = np.inf,
        fall_off: FallOff | None = None,
        settings: SortingSettings = SORTING,
    ) -> Levels:
        """All levels in a box."""
        coarse, fine = (
            search_at(level, box_px, tilt_range_deg, mask_radius_px, fall_off, settings)
            for level in (
                level_of(settings.coarse, settings.coarse.rounds),
                level_of(settings.fine, settings.rounds.settling),
            )
        )
        first = coarse.trying(cube(settings.first.shift_step_px), settings.first.rounds)
        return cls(coarse, fine, wide_search(coarse), first)

    @property
    def settings(self) -> SortingSettings:
        """What the searches were made with."""
        return self.fine.settings
