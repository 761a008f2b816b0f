"""Small pictures for the page: greys as JPEG, drawings as PNG of few colours."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from aitom_disca.geometry import centre_index

_DARK_PERCENT, _BRIGHT_PERCENT = 1, 99.8  # of the values, that become black and white
_COARSEST_PX = 200  # edge of a slice that is not made any smaller
_GAP_PX = 2  # between members
_COLOURS = 96


def orthoslices(volume_zyx: np.ndarray, edge_px: int = 180) -> list[bytes]:
    """The central slices x–y, x–z and y–z of a volume, protein bright, as JPEG.

    They go through voxel ``n // 2``, are of one contrast, and have y or z upwards.
    """
    low, high = np.percentile(volume_zyx, (_DARK_PERCENT, _BRIGHT_PERCENT))
    planes = [volume_zyx.take(centre_index(volume_zyx.shape[axis]), axis=axis) for axis in range(3)]
    return [jpeg(_scaled(_greys(plane, low, high), edge_px)) for plane in planes]


def wall(slices_nyx: np.ndarray, tile_px: int = 72, columns: int = 3) -> bytes:
    """Slices in rows, each in its own contrast, as JPEG; y upwards."""
    n_rows = -(-len(slices_nyx) // columns)
    step = tile_px + _GAP_PX
    page = np.zeros((n_rows * step - _GAP_PX, columns * step - _GAP_PX), np.uint8)
    for i, plane in enumerate(slices_nyx):
        low, high = np.percentile(plane, (_DARK_PERCENT, _BRIGHT_PERCENT))
        tile = np.asarray(_scaled(_greys(plane, low, high), tile_px))
        top, left = i // columns * step, i % columns * step
        page[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return jpeg(Image.fromarray(page))


def grey_jpeg(plane_yx: np.ndarray, most_bytes: int) -> bytes:
    """A plane as JPEG, y upwards; as coarse as it must be to take no more than so many bytes."""
    image = _greys(plane_yx, *np.percentile(plane_yx, (1, 99.7)))
    edge = max(image.size)
    while True:
        picture = jpeg(_scaled(image, edge), 70)
        if len(picture) <= most_bytes or edge < _COARSEST_PX:
            return picture
        edge = int(0.85 * edge)


def labels_png(labels_yx: np.ndarray, strength_yx: np.ndarray, colours: Sequence[str]) -> bytes:
    """Where averages lie, as PNG in the colours of their clusters; clear elsewhere; y upwards.

    Parameters
    ----------
    labels_yx : ndarray of int, shape (y, x)
        Numbers of clusters from 1; 0 for nothing.
    strength_yx : ndarray of the same shape
        From 0, seen through, to 1.
    colours : sequence of str
        As in ``#0077bb``, by the number of the cluster less 1.
    """
    levels = max(1, min(8, 255 // max(len(colours), 1)))
    level = np.clip(np.ceil(np.nan_to_num(strength_yx) * levels), 0, levels).astype(int)
    inside = (labels_yx > 0) & (labels_yx <= len(colours)) & (level > 0)
    index = np.where(inside, (labels_yx.astype(int) - 1) * levels + level, 0)
    index = np.where(index < 256, index, 0).astype(np.uint8)
    rgb = [bytes.fromhex(colour[1:]) for colour in colours for _ in range(levels)]
    image = Image.fromarray(np.ascontiguousarray(index[::-1]), "P")
    image.putpalette(b"\0\0\0" + b"".join(rgb[:255]))
    alphas = [round(190 * (k + 1) / levels) for _ in colours for k in range(levels)]
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True, transparency=bytes([0, *alphas[:255]]))
    return buffer.getvalue()


def smaller_png(png: bytes, width_px: int = 700) -> bytes:
    """A drawing with few colours and no more than so many pixels across."""
    with Image.open(BytesIO(png)) as opened:
        image = opened.convert("RGBA")
    ground = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(ground, image).convert("RGB")
    if image.width > width_px:
        image = image.resize((width_px, round(image.height * width_px / image.width)))
    buffer = BytesIO()
    few = image.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def jpeg(image: Image.Image, quality: int = 80) -> bytes:
    """The image as JPEG."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def data_uri(picture: bytes) -> str:
    """A picture as the address of itself."""
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64," + b64encode(picture).decode("ascii")


def _greys(plane_yx: np.ndarray, low: float, high: float) -> Image.Image:
    shown = np.clip((plane_yx - low) / max(high - low, 1e-9), 0, 1)
    return Image.fromarray(np.rint(255 * shown[::-1]).astype(np.uint8))


def _scaled(image: Image.Image, edge_px: int) -> Image.Image:
    factor = edge_px / max(image.size)
    width, height = (max(1, round(n * factor)) for n in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)
