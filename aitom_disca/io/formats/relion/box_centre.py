"""Where RELION's boxes are centred: subtomograms are cut at whole voxels, the rest is an origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aitom_disca.particles import ParticleSet


def cut_at_voxels(particles: ParticleSet) -> ParticleSet:
    """Particles whose boxes lie at whole voxels, the rest of their places in the origins.

    RELION 3 cuts at whole voxels: of a coordinate with a fraction it drops the fraction, and with
    it up to a voxel of the particle's place. Boxes are cut here at the voxel nearest to the centre.
    """
    if not particles.has_positions:
        return particles
    return replace(particles, box_center_zyx_px=np.floor(particles.cut_at_zyx_px + 0.5))
