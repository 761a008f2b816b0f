"""The particle set: where every subtomogram comes from and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aitom_disca.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

UNASSIGNED = -1
_NOT_COLUMNS = ("tomograms", "more", "more_blocks")
_NEEDED = ("tomogram_name", "center_zyx_px")
# What each is called in a data frame.
_IN_FRAMES = {
    "tomogram_name": ("tomogram_name",),
    "center_zyx_px": ("center_z_px", "center_y_px", "center_x_px"),
    "score": ("score",),
    "euler_zyz_deg": ("rot_deg", "tilt_deg", "psi_deg"),
    "cluster": ("cluster",),
    "posterior": ("posterior",),
    "centered_xyz_angstrom": ("centered_x_angstrom", "centered_y_angstrom", "centered_z_angstrom"),
    "box_center_zyx_px": ("box_center_z_px", "box_center_y_px", "box_center_x_px"),
}


@dataclass(frozen=True, kw_only=True)
class Optics:
    """What the contrast transfer function of a tilt series needs; see `aitom_disca.geometry.ctf`.

    Parameters
    ----------
    defocus_angstrom : float, optional
        Mean of the series, positive for underfocus; None where it is not known.
    voltage_kv : float
    spherical_aberration_mm : float
    amplitude_contrast : float
        Share from 0 to 1.
    """

    defocus_angstrom: float | None = None
    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1

    @property
    def optics(self) -> dict[str, Any]:
        """These values alone, by name."""
        return {f.name: getattr(self, f.name) for f in fields(Optics)}


@dataclass(frozen=True)
class TomogramInfo(Optics):
    """What is known about a tomogram without its voxels; the values of `Optics` are given by name.

    Parameters
    ----------
    name : str
        Name by which particles refer to it.
    voxel_size_angstrom : float
        Edge of a voxel of the tomogram as given.
    shape_zyx : tuple of int, optional
        Size in voxels.
    tilt_range_deg : tuple of float
        Smallest and largest measured tilt; tilt axis y, beam z.
    path : Path, optional
        The volume's file.
    tilt_series_pixel_size_angstrom : float, optional
        Unbinned pixel size, where it differs from the voxel size.
    unbinned_shape_zyx : tuple of float, optional
        Size in unbinned pixels; RELION 5 counts centred coordinates from its half.
    tilts_deg : tuple of float
        All measured tilts, the smallest first; empty where they are not known, or do not span the
        tilt range.
    """

    name: str
    voxel_size_angstrom: float
    shape_zyx: tuple[int, int, int] | None = None
    tilt_range_deg: tuple[float, float] = (-60.0, 60.0)
    path: Path | None = None
    tilt_series_pixel_size_angstrom: float | None = None
    unbinned_shape_zyx: tuple[float, float, float] | None = None
    tilts_deg: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.tilts_deg and (self.tilts_deg[0], self.tilts_deg[-1]) != self.tilt_range_deg:
            object.__setattr__(self, "tilts_deg", ())

    @property
    def centre_xyz_angstrom(self) -> np.ndarray:
        """Centre (x, y, z) from which RELION 5 counts, from voxel 0: half the unbinned size."""
        pixel = self.tilt_series_pixel_size_angstrom or self.voxel_size_angstrom
        if self.unbinned_shape_zyx is not None:
            return np.array(self.unbinned_shape_zyx[::-1], float) / 2 * pixel
        if self.shape_zyx is None:
            raise InputError(
                f"the size of tomogram {self.name!r} is needed, but is not known; give it."
            )
        return np.array(self.shape_zyx[::-1], float) / 2 * self.voxel_size_angstrom


@dataclass(frozen=True)
class ParticleSet:
    """N particles, column by column.

    Parameters
    ----------
    tomogram_name : ndarray of str, shape (N,)
    center_zyx_px : ndarray of shape (N, 3)
        Voxels of the tomogram as given, from 0, voxel centres at integers. NaN where unknown.
    score : ndarray of shape (N,), optional
        Picking score, higher is better.
    euler_zyz_deg : ndarray of shape (N, 3), optional
        RELION's rot, tilt, psi.
    cluster : ndarray of int, shape (N,), optional
        From 0; ``UNASSIGNED`` (-1) for none.
    posterior : ndarray of shape (N,), optional
        Probability of the cluster, 0 to 1.
    centered_xyz_angstrom : ndarray of shape (N, 3), optional
        Position from the tomogram's centre, where only that is known.
    box_center_zyx_px : ndarray of shape (N, 3), optional
        Where the particle's subtomogram was cut, if not at its centre. Image files that belong to
        the particles are centred here.
    tomograms : mapping of str to TomogramInfo
    more : mapping of str to ndarray of shape (N,)
        Further columns of the file that the particles came from, by their names there.
    more_blocks : mapping of str to Any
        What else that file held, such as RELION's optics table.

    Examples
    --------
    >>> import numpy as np
    >>> centers = np.array([[40.0, 52.0, 61.0], [41.5, 30.0, 77.0]])
    >>> particles = ParticleSet(np.array(["TS_01", "TS_01"]), centers, score=np.array([7.1, 5.9]))
    >>> frame = particles.to_frame()
    >>> frame
      tomogram_name  center_z_px  center_y_px  center_x_px  score
    0         TS_01         40.0         52.0         61.0    7.1
    1         TS_01         41.5         30.0         77.0    5.9
    >>> ParticleSet.from_frame(frame[frame["score"] > 6]).center_zyx_px
    array([[40., 52., 61.]])
    """

    tomogram_name: np.ndarray
    center_zyx_px: np.ndarray
    score: np.ndarray | None = None
    euler_zyz_deg: np.ndarray | None = None
    cluster: np.ndarray | None = None
    posterior: np.ndarray | None = None
    centered_xyz_angstrom: np.ndarray | None = None
    box_center_zyx_px: np.ndarray | None = None
    tomograms: Mapping[str, TomogramInfo] = field(default_factory=dict)
    more: Mapping[str, np.ndarray] = field(default_factory=dict)
    more_blocks: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = {name: getattr(self, name) for name in self._columns()} | dict(self.more)
        for name, column in columns.items():
            if len(column) != len(self):
                raise InputError(
                    f"expected a row of {name} for each of {len(self)} particles, but got "
                    f"{len(column)}."
                )

    def __len__(self) -> int:
        return len(self.tomogram_name)

    def _columns(self) -> list[str]:
        names = [f.name for f in fields(self) if f.name not in _NOT_COLUMNS]
        return [name for name in names if getattr(self, name) is not None]

    def select(self, rows: np.ndarray) -> ParticleSet:
        """Rows by index array or boolean mask, in that order."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in self._columns()}
        more = {name: column[rows] for name, column in self.more.items()}
        return replace(self, **columns, more=more)

    def with_clusters(self, cluster: np.ndarray, posterior: np.ndarray | None) -> ParticleSet:
        """The same particles with new clusters."""
        return replace(self, cluster=np.asarray(cluster), posterior=posterior)

    # -- as a table --------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """A row for each particle; what else is known of their tomograms is not part of it.

        Columns are ``tomogram_name``, ``center_z_px``, ``center_y_px``, ``center_x_px``, those of
        ``score``, ``cluster``, ``posterior``, ``rot_deg``, ``tilt_deg``, ``psi_deg``,
        ``centered_x_angstrom``, ``box_center_z_px`` and so on that are known, and ``more``.

        Raises
        ------
        InputError
            If a further column has the name of one of these.
        """
        import pandas as pd

        twice = {part for parts in _IN_FRAMES.values() for part in parts} & self.more.keys()
        if twice:
            raise InputError(
                f"expected further columns of other names than {', '.join(sorted(twice))}; rename "
                "them in `more`."
            )
        columns: dict[str, np.ndarray] = {}
        for name in self._columns():
            values = getattr(self, name).reshape(len(self), -1).T
            columns |= dict(zip(_IN_FRAMES[name], values, strict=True))
        return pd.DataFrame(columns | dict(self.more))

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, *, tomograms: Mapping[str, TomogramInfo] | None = None
    ) -> ParticleSet:
        """Particles of a table with the columns of `to_frame`; others become ``more``.

        Raises
        ------
        InputError
            If a column is missing or holds what is no number.
        """
        table = {str(name): frame[name] for name in frame}
        columns: dict[str, Any] = {}
        for name, parts in _IN_FRAMES.items():
            missing = [part for part in parts if part not in table]
            if missing and (
                len(missing) < len(parts) or name in ("tomogram_name", "center_zyx_px")
            ):
                raise InputError(
                    f"expected a table of particles with the columns {', '.join(parts)}, but it "
                    f"has no {missing[0]}; rename the column that is meant."
                )
            if not missing:
                values = [_numbers(table.pop(part), name) for part in parts]
                columns[name] = values[0] if len(parts) == 1 else np.stack(values, axis=1)
        more = {name: column.to_numpy() for name, column in table.items()}
        return cls(**columns, more=more, tomograms=tomograms or {})

    def inside(self) -> np.ndarray:
        """Which particles (n,) lie in their tomograms; all do where no size is known."""
        inside = np.ones(len(self), bool)
        for name, info in self.tomograms.items():
            rows = self.tomogram_name == name
            if info.shape_zyx is not None:
                place = self.center_zyx_px[rows]
                inside[rows] = ((place >= 0) & (place <= np.array(info.shape_zyx) - 1)).all(axis=1)
        return inside

    @property
    def cut_at_zyx_px(self) -> np.ndarray:
        """Voxels (N, 3) in which boxes are centred: where they were cut, or else the nearest."""
        if self.box_center_zyx_px is not None:
            return self.box_center_zyx_px
        return np.asarray(np.floor(self.center_zyx_px + 0.5))

    @property
    def has_positions(self) -> bool:
        """Whether every particle has a voxel position."""
        return bool(np.isfinite(self.center_zyx_px).all())


def concatenate(sets: list[ParticleSet]) -> ParticleSet:
    """Join particle sets that hold the same columns; of further ones those that all hold."""
    first = sets[0]
    columns = first._columns()
    for other in sets[1:]:
        if other._columns() != columns:
            raise InputError(
                f"expected particles with the same columns, but got {columns} and "
                f"{other._columns()}."
            )
    tomograms = {name: info for s in sets for name, info in s.tomograms.items()}
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(s, name) for s in sets]) for name in columns
    }
    shared = [name for name in first.more if all(name in s.more for s in sets)]
    more = {name: np.concatenate([s.more[name] for s in sets]) for name in shared}
    return replace(first, **joined, tomograms=tomograms, more=more)


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    """A column of a table as `ParticleSet` has it."""
    if name == "tomogram_name":
        return column.to_numpy(str)
    try:
        numbers = column.to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError):
        raise InputError(f"expected numbers in the column {column.name}; look at it.") from None
    if name != "cluster":
        return numbers
    numbers = np.where(np.isnan(numbers), UNASSIGNED, numbers)
    if (numbers % 1).any():
        raise InputError("expected whole numbers from 0, or -1, in the column cluster; look at it.")
    return numbers.astype(int)
