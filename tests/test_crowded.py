"""Averages among neighbours follow the particle: neither its neighbours nor the wedge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aitom_disca.bench.case_data import load_templates
from aitom_disca.bench.crowded import crowded_subtomograms, measure_masks, measure_wedge_bias
from aitom_disca.geometry import apply_wedge
from aitom_disca.simulation import load_phantoms

TILT = (-60.0, 60.0)


def test_neighbours_lie_beside_the_particle_and_do_not_touch_it() -> None:
    phantoms = load_phantoms()
    particle, other = phantoms["chaperone"], phantoms["ring"]
    box, voxel = 24, 16.0
    made = crowded_subtomograms(particle, [other], 6, box, voxel, np.inf, shift_max_px=0.0, seed=1)
    grid = np.linalg.norm(np.indices((box,) * 3) - box // 2, axis=0)
    inside = grid < particle.radius_angstrom / voxel - 1
    outside = grid > particle.radius_angstrom / voxel + 2
    share = []
    for volume, rotation in zip(made.volumes, made.rotations, strict=True):
        alone = apply_wedge(particle.density(box, voxel, rotation), TILT)
        assert np.corrcoef(volume[inside], alone[inside])[0, 1] > 0.95
        share.append(volume[outside].std() / alone[outside].std() * alone.std())
    assert np.median(share) > 1.5  # something is there


@pytest.mark.full
def test_crowded_particles_of_random_orientation_are_averaged_evenly(shared_data: Path) -> None:
    """About five minutes."""
    templates = load_templates(shared_data / "templates")
    rows = list(measure_wedge_bias(templates, seeds=(0, 1)))
    assert max(row["off_centre_px"] for row in rows) < 1
    ribosomes = [row for row in rows if row["structure"] == "4v4r"]
    assert min(row["tilt_uniform_p"] for row in ribosomes) > 0.001
    assert max(row["gathered_about_beam"] for row in ribosomes) < 0.2


@pytest.mark.full
def test_a_mask_does_no_harm_among_neighbours(shared_data: Path) -> None:
    """About five minutes."""
    rows = list(measure_masks(load_templates(shared_data / "templates"), seeds=(0,)))
    gain = [b["correlation"] - a["correlation"] for a, b in zip(rows[::2], rows[1::2], strict=True)]
    assert min(gain) > -0.02 and np.mean(gain) > -0.002
