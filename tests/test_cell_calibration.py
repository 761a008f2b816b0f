"""The raw level of simulated cells against experimental ribosomes; how both are measured."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from aitom_disca.bench.cell_averages import through_lens
from aitom_disca.bench.single_particle import shared_power, single_particle_ssnr
from aitom_disca.geometry import apply_wedge, box_slices, random_rotations
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.simulation import load_phantoms, read_template
from aitom_disca.simulation.cell import (
    LEVELS,
    CellRecipe,
    Imaging,
    grow_cell,
    image_cell,
    reconstruct,
)

BOX_PX, VOXEL_ANGSTROM = 32, 12.0
RADIUS_PX = 11.5
RESOLUTIONS_ANGSTROM = (128.0, 77.0, 43.0)


def at_resolutions(ssnr: np.ndarray) -> np.ndarray:
    """Mean over the three shells about each resolution."""
    shells = np.rint(BOX_PX * VOXEL_ANGSTROM / np.array(RESOLUTIONS_ANGSTROM)).astype(int)
    return np.array([ssnr[shell - 1 : shell + 2].mean() for shell in shells])


def test_a_known_ratio_is_measured() -> None:
    rng = np.random.default_rng(0)
    phantom, turns, tilts = load_phantoms()["letter_l"], random_rotations(40, rng), (-60.0, 60.0)
    drawn = phantom.density(24, 12.0)
    clean = np.array([phantom.density(24, 12.0, turn) for turn in turns])
    noise = rng.standard_normal(clean.shape)
    volumes = apply_wedge(clean + 0.8 * noise, tilts)
    mask = soft_sphere(24, 9.5, 1.5)  # inside the box however it is turned
    share = shared_power(volumes, turns, np.zeros((40, 3)), tilts, mask)
    signal = (drawn - np.average(drawn, weights=mask)) * mask
    power = np.fft.fftshift(np.abs(np.fft.fftn(signal)) ** 2)
    shell = np.rint(np.linalg.norm(np.indices(drawn.shape) - 12, axis=0)).astype(int)
    mean = np.bincount(shell.ravel(), power.ravel()) / np.bincount(shell.ravel())
    expected = mean / (mean + 0.64 * (mask**2).sum())
    assert np.allclose(share[2:6], expected[2:6], rtol=0.15)

    ssnr = single_particle_ssnr(volumes, drawn, tilts, 9.5, n_chance=1)
    nothing = single_particle_ssnr(apply_wedge(noise, tilts), drawn, tilts, 9.5, n_chance=1)
    assert np.all(ssnr[3:6] > 10 * np.abs(nothing[3:6]))


def ribosomes(shared_data: Path, imaging: Imaging, seed: int, level: str = "raw") -> np.ndarray:
    """Ribosomes cut out of a crowded cell, with the box of the experiment."""
    names = ("4v4r", "3cf3", "1u6g")
    maps = {n: read_template(shared_data / "templates" / f"{n}.mrc.gz") for n in names}
    recipe = CellRecipe(
        abundant=("4v4r",),
        fillers=("3cf3", "1u6g"),
        shape_zyx=(150, 340, 340),
        n_abundant=170,
        n_fillers=120,
        n_vesicles=0,
        n_microtubules=0,
        n_actin=0,
        n_gold=0,
        sheet=False,
    )
    cell = grow_cell(recipe, maps, seed)
    images = image_cell(cell, recipe, imaging, seed).counted(
        LEVELS[level], np.random.default_rng((seed, 2))
    )
    volume = -reconstruct(images, imaging, recipe.shape_zyx[0])  # protein bright
    last = np.array(volume.shape) - 25
    places = [p.center_zyx_px for p in cell.placed if p.kind == "4v4r"]
    inside = [p for p in places if (p >= 24).all() and (p <= last).all()]
    boxes = np.array([volume[box_slices(place, 48)] for place in inside])
    return fourier_crop(boxes, 40)[:, 4:36, 4:36, 4:36]  # from 10 to 12 Å


@pytest.mark.full
def test_raw_ribosomes_are_as_noisy_as_experimental_ones(shared_data: Path) -> None:
    template = read_template(shared_data / "templates" / "4v4r.mrc.gz")
    with h5py.File(shared_data / "subtomograms" / "ribosome_24.h5") as file:
        experimental = file["subtomograms"][:]
    plain = template.density(BOX_PX, VOXEL_ANGSTROM)
    known = single_particle_ssnr(experimental, plain, (-53.0, 61.0), RADIUS_PX)

    imaging = Imaging(defocus_angstrom=30_000)
    simulated = ribosomes(shared_data, imaging, seed=5)
    assert len(simulated) > 24
    seen = through_lens(template, BOX_PX, VOXEL_ANGSTROM, [imaging])
    made = single_particle_ssnr(simulated, seen, imaging.tilt_range_deg, RADIUS_PX)

    ratio = at_resolutions(made) / at_resolutions(known)
    assert np.all((ratio > 0.5) & (ratio < 2)), (at_resolutions(made), at_resolutions(known))
