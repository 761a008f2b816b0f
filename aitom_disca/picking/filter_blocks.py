"""Cut a volume into blocks that are filtered one by one, with the same result as the whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from aitom_disca.errors import InputError


@dataclass(frozen=True)
class Block:
    """A part of a volume.

    Parameters
    ----------
    core : tuple of slice
        Voxels that belong to this block, and to no other.
    padded : tuple of slice
        The core and its halo, cut at the faces of the volume.
    """

    core: tuple[slice, slice, slice]
    padded: tuple[slice, slice, slice]

    @property
    def core_in_padded(self) -> tuple[slice, slice, slice]:
        """Where the core lies in an array that holds the padded block."""
        return _three(
            slice(c.start - p.start, c.stop - p.start)
            for c, p in zip(self.core, self.padded, strict=True)
        )

    @property
    def start_zyx(self) -> tuple[int, int, int]:
        """First voxel of the padded block."""
        return tuple(p.start for p in self.padded)  # type: ignore[return-value]


def split_into_blocks(
    shape_zyx: Sequence[int], block_shape_zyx: Sequence[int], halo_px: int
) -> list[Block]:
    """Blocks whose cores tile a volume.

    A filter that looks no further than ``halo_px`` gives, in the core of a padded block, the
    value it gives in the whole volume.

    Parameters
    ----------
    shape_zyx, block_shape_zyx : sequence of 3 int
        Size of the volume, and of a core. The last block of an axis may be smaller.
    halo_px : int

    Raises
    ------
    InputError
        If a block edge or the halo is not a sensible number of voxels.
    """
    if len(block_shape_zyx) != 3 or min(block_shape_zyx) < 1:
        raise InputError(
            "the block shape must be three positive numbers of voxels (z, y, x); "
            f"got {tuple(block_shape_zyx)}."
        )
    if halo_px < 0:
        raise InputError(f"the halo of a block cannot be negative; got {halo_px}.")
    starts = [range(0, n, b) for n, b in zip(shape_zyx, block_shape_zyx, strict=True)]
    return [_block(first, shape_zyx, block_shape_zyx, halo_px) for first in product(*starts)]


def _block(
    first: Sequence[int], shape: Sequence[int], block_shape: Sequence[int], halo: int
) -> Block:
    core = _three(
        slice(f, min(f + b, n)) for f, b, n in zip(first, block_shape, shape, strict=True)
    )
    padded = _three(
        slice(max(c.start - halo, 0), min(c.stop + halo, n))
        for c, n in zip(core, shape, strict=True)
    )
    return Block(core, padded)


def _three(slices: Iterable[slice]) -> tuple[slice, slice, slice]:
    z, y, x = slices
    return z, y, x
