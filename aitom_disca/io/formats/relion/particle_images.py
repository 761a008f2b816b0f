"""Images that particles of star files name, and in which pixels these and coordinates count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from aitom_disca.io.formats.format import Known, voxel_sizes
from aitom_disca.io.formats.relion.optics_groups import numbers_of, optics_value
from aitom_disca.io.formats.relion.star_blocks import (
    IMAGE_COLUMNS,
    IMAGE_PIXEL_COLUMN,
    SUBTOMOGRAM_ANGLE_COLUMNS,
    TILT_SERIES_PIXEL_COLUMN,
)
from aitom_disca.io.formats.relion.star_coordinates import PIXEL_KEY
from aitom_disca.io.formats.relion.star_pixels import (
    DETECTOR,
    MAGNIFICATION,
    PLAIN,
    of_detector_angstrom,
)
from aitom_disca.io.pixel_sizes import differs
from aitom_disca.particles import ParticleSet

Layout = Literal["3.0", "3.1", "warp"]


@dataclass(frozen=True)
class CoordinatePixels:
    """What the coordinates of a layout count in, and the pixels of its images.

    Parameters
    ----------
    pixel_angstrom : ndarray of shape (N,)
        Of coordinates.
    scale : ndarray of shape (N,)
        Such pixels in a voxel; 1 where the two differ by less than 1 %.
    image_angstrom : ndarray of shape (N,)
        Pixel of the images.
    images : bool
        Whether the image files still fit.
    reason : str
        Why not.
    """

    pixel_angstrom: np.ndarray
    scale: np.ndarray
    image_angstrom: np.ndarray
    images: bool = True
    reason: str = ""

    @property
    def voxel_angstrom(self) -> np.ndarray:
        """Size (N,) of the voxels that ``scale`` counts."""
        return self.pixel_angstrom * self.scale


def image_pixel(particles: ParticleSet) -> np.ndarray | None:
    """Pixel size (N,) of the images, as far as the columns say it."""
    given = particles.more_blocks.get(PIXEL_KEY)
    if given is not None:
        return np.full(len(particles), float(given))
    own = optics_value(particles, IMAGE_PIXEL_COLUMN)
    if own is None and {DETECTOR, MAGNIFICATION} <= set(particles.more):
        detector, magnification = (
            numbers_of(particles.more[c], c) for c in (DETECTOR, MAGNIFICATION)
        )
        own = of_detector_angstrom(detector, magnification)
    elif own is None and DETECTOR in particles.more:  # alone it is in Angstrom
        own = numbers_of(particles.more[DETECTOR], DETECTOR)
    return optics_value(particles, PLAIN) if own is None else own


def tilt_series_pixel(particles: ParticleSet, known: Known) -> np.ndarray | None:
    """Unbinned pixel size (N,), None if it is unknown for some."""
    said = optics_value(particles, TILT_SERIES_PIXEL_COLUMN)
    sizes = np.full(len(particles), np.nan) if said is None else said.copy()
    for name in np.unique(particles.tomogram_name).tolist():
        if name in known.tomograms or name in particles.tomograms:
            unbinned = known.info(name, particles).tilt_series_pixel_size_angstrom
            if unbinned is not None:
                sizes[particles.tomogram_name == name] = unbinned
    return sizes if np.isfinite(sizes).all() else None


def has_images(particles: ParticleSet) -> bool:
    """Whether the particles name image files."""
    return any(column in particles.more for column in IMAGE_COLUMNS)


def is_two_stage(particles: ParticleSet) -> bool:
    """Whether the images were cut in orientations of their own."""
    return any(
        column in particles.more and np.any(numbers_of(particles.more[column], column) != 0)
        for column in SUBTOMOGRAM_ANGLE_COLUMNS
    )


def coordinate_pixels(
    particles: ParticleSet, known: Known, layout: Layout = "3.1"
) -> CoordinatePixels:
    """What 3.0, 3.1 and Warp count in.

    Coordinates of RELION are voxels of the tomogram, whatever the pixels of its images; 3.0 has no
    place for a second size. Those of Warp are pixels of the images.
    """
    voxel = voxel_sizes(particles, known)
    one = np.ones(len(particles))
    without = partial(CoordinatePixels, voxel, one, voxel, False)
    if not has_images(particles):
        return CoordinatePixels(voxel, one, voxel)
    dimensions = optics_value(particles, "rlnImageDimensionality")
    if dimensions is not None and np.any(dimensions == 2):
        return without("tilt series, which this layout does not have")
    if is_two_stage(particles):
        return without("cut in orientations, which this layout does not have")
    pixel = image_pixel(particles)
    if pixel is None:
        return CoordinatePixels(voxel, one, voxel)
    other = differs(pixel, voxel)
    if layout == "3.1" and other.any():
        return CoordinatePixels(voxel, one, pixel)
    said = known.voxel_size_angstrom is not None or layout == "3.0"
    if said and other.any():
        return without(
            f"of pixels of {pixel[0]:.5g} A, while coordinates count in {voxel[0]:.5g} A"
        )
    return CoordinatePixels(pixel, np.where(other, voxel / pixel, 1.0), pixel)
