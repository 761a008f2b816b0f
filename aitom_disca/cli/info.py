"""The command that says what tomograms are."""

from __future__ import annotations

from aitom_disca.cli import options as o
from aitom_disca.cli.given_options import open_given


def info(
    tomograms: o.Tomograms,
    voxel_size_angstrom: o.VoxelSize = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    zarr_level: o.ZarrLevel = 0,
) -> None:
    """Read tomograms and say what they are: size, voxel size, tilt range.

    Example: aitom-disca info tomogram.mrc
    """
    from aitom_disca.cli.printed_tables import print_tomograms

    print_tomograms(open_given(tomograms, voxel_size_angstrom, tilt_range, tilt_file, zarr_level))
