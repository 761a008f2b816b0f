"""Picture of a volume as a shaded surface, from two sides."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import TriMesh
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.tri import Triangulation
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage.filters import threshold_otsu
from skimage.measure import marching_cubes

from aitom_disca.averaging.check_maps import as_map, check_positive
from aitom_disca.colours import CLUSTER_COLOURS
from aitom_disca.errors import InputError
from aitom_disca.geometry import centre_index
from aitom_disca.report.figure_style import INK, MUTED, empty_figure, png_of, scale_bar_nm

_DRAWN_PX = 56  # edge that smaller volumes are made finer to, and larger ones coarser
_FINEST = 3.0  # times finer, at the most
_SMOOTH = 0.6  # voxels as given: the noise of single voxels makes no bumps
_SMALLEST_PIECE = 0.02  # of the largest; what is smaller is not drawn
_LIGHT = np.array([-0.45, 0.6, 0.66])  # x to the right, y up, z to the eye
_AMBIENT, _DIFFUSE = 0.3, 0.7  # of full light, in which a surface shows its colour
_GLOSS, _SHININESS = 0.35, 18
_FAR = 0.35  # share of the light that the furthest parts lose
_DARK, _PALE = 0.12, 0.55  # of the colour that the darkest keeps, of white in the brightest
# The tomogram's z axis to the eye; and from the side, z up.
_VIEWS = (
    ("along z", Rotation.identity()),
    ("across z", Rotation.from_euler("x", -90, degrees=True)),
)


def draw_isosurface(
    volume: np.ndarray,
    voxel_size_angstrom: float,
    *,
    level: float | None = None,
    colour: str = CLUSTER_COLOURS[4],
) -> bytes:
    """Draw the surface of what stands out in a volume: seen along z, and across it with z up.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
        Protein bright. Resampled by cubic splines to about 56 voxels an edge, so that a small one
        looks smooth and a large one is quick.
    voxel_size_angstrom : float
        For the scale bar.
    level : float, optional
        The value at which the surface is drawn. Otsu's threshold of the smoothed values within
        the sphere that fills the box, unless given; pieces below a fiftieth of the largest are
        left out.
    colour : str
        Any that matplotlib knows.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    InputError
        If the volume is not three-dimensional, finite and of at least 4 voxels an edge, or the
        level lies outside of its values.
    """
    check_positive(voxel_size_angstrom, "the voxel size")
    corners_xyz, faces, normals_xyz = surface_mesh(volume, level)
    figure = empty_figure(5.2, 2.75)
    panels = figure.subplots(
        1, 2, gridspec_kw={"left": 0, "right": 1, "top": 0.91, "bottom": 0, "wspace": 0}
    )
    reach = 1.04 * float(np.linalg.norm(corners_xyz, axis=-1).max())
    for axes, (name, turn) in zip(panels, _VIEWS, strict=True):
        _draw(axes, turn.apply(corners_xyz), faces, turn.apply(normals_xyz), _shades(colour))
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.set_axis_off()
        axes.set_title(name, fontsize=11, color=MUTED, pad=2)
    _draw_scale_bar(panels[0], reach, voxel_size_angstrom)
    return png_of(figure)


def surface_mesh(
    volume: np.ndarray, level: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The surface that `draw_isosurface` draws, as triangles.

    Parameters
    ----------
    volume, level
        As there.

    Returns
    -------
    corners_xyz : ndarray of shape (n, 3)
        From the centre of the box, in voxels.
    faces : ndarray of int, shape (m, 3)
    normals_xyz : ndarray of shape (n, 3)
        Outward.

    Raises
    ------
    InputError
        As there.
    """
    volume = as_map(volume, "the volume")
    if min(volume.shape) < 4:
        raise InputError(f"a surface needs 4 voxels an edge or more; the shape is {volume.shape}.")
    fine, px_per_voxel = _resampled(volume)
    level = _level(fine) if level is None else level
    if not fine.min() < level < fine.max():
        raise InputError(
            f"the level {level:g} is not among the values of the smoothed volume, "
            f"{fine.min():g} to {fine.max():g}; choose one between."
        )
    centre = np.array([centre_index(n) for n in volume.shape]) * px_per_voxel
    corners_xyz, faces, normals_xyz = _surface(fine, level, centre)
    return corners_xyz / px_per_voxel, faces, normals_xyz


def _resampled(volume: np.ndarray) -> tuple[np.ndarray, float]:
    """The volume, smoothed a little, finer or coarser; and new voxels to an old one."""
    factor = min(_DRAWN_PX / max(volume.shape), _FINEST)
    smooth = ndimage.gaussian_filter(volume.astype(float), max(_SMOOTH, 0.5 / factor))
    shape = [max(4, round(n * factor)) for n in volume.shape]
    places = np.meshgrid(*(np.arange(n) / factor for n in shape), indexing="ij")
    return ndimage.map_coordinates(smooth, places, order=3, mode="nearest"), factor


def _level(volume: np.ndarray) -> float:
    """Otsu's threshold inside the sphere; the corners of an average are often empty."""
    axes = np.ix_(*(np.linspace(-1, 1, n) for n in volume.shape))
    values = volume[axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2 < 1]
    if not np.ptp(values) > 0:
        raise InputError("the volume holds one value only, so that it has no surface.")
    return float(threshold_otsu(values))


def _surface(
    volume: np.ndarray, level: float, centre_zyx: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners (n, xyz) from the centre, triangles (m, 3) of them, outward normals (n, xyz)."""
    outside = min(float(volume.min()), level - 1e-6 * float(np.ptp(volume)))
    pieces, n_pieces = ndimage.label(volume > level)
    sizes = np.bincount(pieces.ravel(), minlength=n_pieces + 1)
    small = sizes < _SMALLEST_PIECE * sizes[1:].max()
    kept = ndimage.binary_dilation(~small[pieces] & (pieces > 0), iterations=2)
    closed = np.pad(np.where(kept, volume, np.minimum(volume, level - 1e-9)), 1)
    closed[_rim(closed.shape)] = outside
    corners, faces, normals, _ = marching_cubes(closed, level, gradient_direction="ascent")
    return (corners - 1 - centre_zyx)[:, ::-1], faces, normals[:, ::-1]


def _rim(shape: tuple[int, ...]) -> np.ndarray:
    rim = np.ones(shape, bool)
    rim[1:-1, 1:-1, 1:-1] = False
    return rim


def _shades(colour: str) -> LinearSegmentedColormap:
    """From the dark side (0) through the colour itself (0.75) to a glint of light (1)."""
    rgb = np.array(to_rgb(colour))
    dark, pale = (tuple(float(c) for c in x) for x in (_DARK * rgb, rgb + _PALE * (1 - rgb)))
    stops = [(0.0, dark), (0.75, to_rgb(colour)), (1.0, pale)]
    return LinearSegmentedColormap.from_list("shades", stops)


def _draw(
    axes: Axes,
    corners_xyz: np.ndarray,
    faces: np.ndarray,
    normals_xyz: np.ndarray,
    shades: LinearSegmentedColormap,
) -> None:
    """Triangles as the eye sees them, which is far along z: the furthest are drawn first."""
    x, y, depth = corners_xyz.T
    order = np.argsort(depth[faces].mean(axis=1))
    nearness = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-12)
    light = _lit(normals_xyz) * (1 - _FAR * (1 - nearness))
    mesh = TriMesh(Triangulation(x, y, faces[order]), cmap=shades)
    mesh.set_array(light)
    mesh.set_clim(0, 1 / 0.75)
    axes.add_collection(mesh, autolim=False)


def _lit(normals_xyz: np.ndarray) -> np.ndarray:
    """How bright each corner is in light from the upper left; 1 is the colour itself.

    References
    ----------
    .. [1] Blinn (1977), Models of light reflection, SIGGRAPH.
    """
    light = _LIGHT / np.linalg.norm(_LIGHT)
    halfway = light + np.array([0.0, 0.0, 1.0])
    halfway = halfway / np.linalg.norm(halfway)
    normals = normals_xyz / np.maximum(np.linalg.norm(normals_xyz, axis=1, keepdims=True), 1e-12)
    diffuse = np.clip(normals @ light, 0, 1)
    gloss = np.clip(normals @ halfway, 0, 1) ** _SHININESS
    return np.asarray(_AMBIENT + _DIFFUSE * diffuse + _GLOSS * gloss)


def _draw_scale_bar(axes: Axes, reach: float, angstrom: float) -> None:
    length_nm = scale_bar_nm(2 * reach * angstrom / 10)
    length = length_nm * 10 / angstrom
    x, y = -0.95 * reach, -0.95 * reach
    axes.plot([x, x + length], [y, y], color=INK, linewidth=2.5, solid_capstyle="butt")
    axes.text(x, y + 0.03 * reach, f"{length_nm:g} nm", fontsize=9, color=INK, va="bottom")
