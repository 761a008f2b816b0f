"""Averages of a run on cells against the templates that they should show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import fft

from aitom_disca.averaging.compare_maps import Comparison, compare_with_map
from aitom_disca.geometry.fourier import frequency_grid_zyx
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.progress import track
from aitom_disca.simulation import Template
from aitom_disca.simulation.cell import Imaging
from aitom_disca.simulation.cell.imaging import contrast_transfer, dose_damping

_EDGE_PX = 2.0


def compare_with_templates(
    run: str | Path,
    clusters: Sequence[Mapping[str, Any]],
    templates: Mapping[str, Template],
    imagings: Sequence[Imaging] = (),
) -> dict[int, Comparison]:
    """Compare each cluster's average with the template of the kind that it holds most.

    The template is seen through the same lens, brought onto the average, and compared inside a
    soft sphere of its radius. Where the phases of the tilt images were flipped, that is what fits
    better; both are tried.

    Parameters
    ----------
    run : path
        With ``averages/cluster_01/average.mrc`` and so on.
    clusters : sequence of dict
        Of `CellScore`.
    templates : mapping of str to Template
    imagings : sequence of Imaging
        Of the tomograms, whose mean transfer is applied; none for a plain template.

    Returns
    -------
    dict of int to Comparison
        By the number of the cluster from 1; clusters without average or template are left out.
    """
    import mrcfile

    found = {}
    for row in track(list(clusters), "comparing averages with templates"):
        path = Path(run) / "averages" / f"cluster_{row['cluster']:02d}" / "average.mrc"
        if row["kind"] not in templates or not path.is_file():
            continue
        with mrcfile.open(path) as handle:
            average, voxel = np.array(handle.data, np.float32), float(handle.voxel_size.x)
        template = templates[row["kind"]]
        box_px = len(average)
        radius_px = min(template.radius_angstrom / voxel, box_px / 2 - 1.5 * _EDGE_PX)
        tried = [
            compare_with_map(
                average,
                through_lens(template, box_px, voxel, imagings, flipped=flipped),
                voxel_size_angstrom=voxel,
                known_voxel_size_angstrom=voxel,
                mask=soft_sphere(box_px, radius_px, _EDGE_PX),
            )
            for flipped in ((False, True) if imagings else (False,))
        ]
        found[row["cluster"]] = max(tried, key=lambda one: one.correlation)
    return found


def through_lens(
    template: Template,
    box_px: int,
    voxel_size_angstrom: float,
    imagings: Sequence[Imaging],
    *,
    flipped: bool = False,
) -> np.ndarray:
    """A template, protein bright, as averages of such tomograms show it."""
    wide = 2 * box_px  # what the lens spreads does not come back from the other side
    spectrum = fft.rfftn(template.density(wide, voxel_size_angstrom))
    kz, ky, kx = frequency_grid_zyx((wide,) * 3, half=True)
    frequency = np.sqrt(kz**2 + ky**2 + kx**2) / voxel_size_angstrom
    if imagings:
        transfer = np.mean([_transfer(frequency, one, flipped) for one in imagings], axis=0)
        spectrum = spectrum * transfer
    cut = (slice(wide // 2 - box_px // 2, wide // 2 - box_px // 2 + box_px),) * 3
    return np.asarray(fft.irfftn(spectrum, s=(wide,) * 3)[cut], np.float32)


def _transfer(frequency: np.ndarray, imaging: Imaging, flipped: bool) -> np.ndarray:
    """Contrast transfer, positive at low frequencies, and the mean damping of a tilt series."""
    transfer = -contrast_transfer(frequency, imaging)
    doses = imaging.exposure * (np.arange(len(imaging.tilts_deg)) + 0.5)
    damping = np.mean([dose_damping(frequency, dose) for dose in doses], axis=0)
    return np.asarray((np.abs(transfer) if flipped else transfer) * damping)
