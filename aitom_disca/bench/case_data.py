"""The data of measurements: simulated from maps or phantoms, and stores of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aitom_disca.bench.cases import TEN, Case
from aitom_disca.errors import InputError
from aitom_disca.geometry import apply_wedge
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.particles import ParticleSet
from aitom_disca.progress import track
from aitom_disca.simulation import (
    SimulatedSubtomograms,
    Template,
    load_phantoms,
    read_template,
    simulate_subtomograms,
)
from aitom_disca.subtomograms.preprocess import normalise

N_COMMON = 5  # phantoms
_COPIES = 40  # noise-free subtomograms of each phantom
_PIECE = 250

_ENDINGS = (".mrc", ".mrc.gz", ".map", ".map.gz")


@dataclass(frozen=True)
class TemplateSet:
    """Structures by the names that the cases use.

    Parameters
    ----------
    by_name : dict of str to Template
    source : {"templates", "phantoms"}
    """

    by_name: dict[str, Template]
    source: str

    def take(self, names: Sequence[str]) -> list[Template]:
        """The structures of these names; beside density maps, phantoms go by their own.

        Raises
        ------
        InputError
            If one is not there.
        """
        known = self.by_name if self.source == "phantoms" else load_phantoms() | self.by_name
        missing = [name for name in names if name not in known]
        if missing:
            raise InputError(
                f"expected a density map {missing[0]}.mrc or {missing[0]}.mrc.gz among the "
                f"templates (found: {', '.join(sorted(self.by_name))}); add it, or leave out the "
                "cases that need it (--cases), or leave out --templates."
            )
        return [known[name] for name in names]


def load_templates(folder: str | Path | None) -> TemplateSet:
    """Density maps of a folder by their file names up to the first dot.

    Without a folder, the built-in phantoms stand in for the ten structures, one for one.

    Raises
    ------
    InputError
        If the folder holds no maps.
    """
    if folder is None:
        phantoms = load_phantoms().values()
        return TemplateSet(dict(zip(TEN, phantoms, strict=False)), "phantoms")
    files = sorted(p for p in Path(folder).glob("*") if p.name.endswith(_ENDINGS))
    if not files:
        raise InputError(
            f"expected a folder with density maps (.mrc or .mrc.gz), but {folder} holds none; "
            "give another with --templates, or leave it out for built-in phantoms."
        )
    return TemplateSet(
        {path.name.split(".")[0]: read_template(path) for path in files}, "templates"
    )


def simulate_case(
    case: Case, templates: TemplateSet, seed: int, fraction: float = 1.0
) -> SimulatedSubtomograms:
    """Simulate the subtomograms of a case, or of a part of it."""
    per_class, n_noise = case.counts(fraction)
    return simulate_subtomograms(
        templates.take(case.structures(seed)),
        per_class,
        case.box_px,
        case.voxel_size_angstrom,
        case.snr,
        case.tilt_range_deg,
        case.shift_max_px,
        seed,
        n_noise=n_noise,
        gain_spread=case.gain_spread,
        offset_spread=case.offset_spread,
    )


def write_case_store(path: str | Path, case: Case, data: SimulatedSubtomograms) -> None:
    """Write the subtomograms of a case into a store."""
    with StoreWriter.create(
        path, data.volumes.shape[1:], case.voxel_size_angstrom, case.tilt_range_deg
    ) as store:
        store.append(data.volumes, _nowhere(len(data.labels)), labels=data.labels)


def write_synthetic_store(
    path: str | Path,
    n: int,
    *,
    box_px: int = 32,
    voxel_size_angstrom: float = 14.0,
    snr: float = 0.1,
    rare: Sequence[int] = (),
    seed: int = 0,
) -> None:
    """Write a store of any size, piece by piece: phantoms that repeat, with fresh noise on each.

    There are five phantoms, and of further ones as many copies as ``rare`` says, at places that
    are drawn.
    """
    tilts = (-60.0, 60.0)
    clean = clean_phantoms(box_px, voxel_size_angstrom, tilts, seed, rare)
    which = _copies_in_turn(n, clean.labels, seed)
    rng = np.random.default_rng(seed)
    with StoreWriter.create(path, (box_px,) * 3, voxel_size_angstrom, tilts) as store:
        for start in track(range(0, n, _PIECE), "writing subtomograms"):
            rows = which[start : start + _PIECE]
            noise: np.ndarray = rng.standard_normal((len(rows), *(box_px,) * 3), np.float32)
            volumes = noisy(clean.volumes[rows], noise, snr, tilts)
            store.append(volumes, _nowhere(len(rows)), labels=clean.labels[rows])


def clean_phantoms(
    box_px: int,
    voxel_size_angstrom: float,
    tilt_range_deg: tuple[float, float],
    seed: int,
    rare: Sequence[int] = (),
) -> SimulatedSubtomograms:
    """Forty subtomograms of each of five phantoms, and so many of further ones, without noise."""
    phantoms = list(load_phantoms().values())[: N_COMMON + len(rare)]
    copies = [_COPIES] * N_COMMON + list(rare)
    return simulate_subtomograms(
        phantoms, copies, box_px, voxel_size_angstrom, np.inf, tilt_range_deg, seed=seed
    )


def noisy(
    clean: np.ndarray, noise: np.ndarray, snr: float, tilt_range_deg: tuple[float, float]
) -> np.ndarray:
    """Volumes (n, z, y, x) with white noise of that shape, the wedge missing in it as well."""
    in_wedge = normalise(apply_wedge(noise, tilt_range_deg)) * np.float32(snr**-0.5)
    return normalise(clean + in_wedge)


def _copies_in_turn(n: int, labels: np.ndarray, seed: int) -> np.ndarray:
    """Which of the clean subtomograms each of n is: common ones in turn, rare ones in between."""
    common, rare = np.flatnonzero(labels < N_COMMON), np.flatnonzero(labels >= N_COMMON)
    which = common[np.arange(n) % len(common)]
    which[np.random.default_rng((seed, 1)).choice(n, len(rare), replace=False)] = rare
    return which


def _nowhere(n: int) -> ParticleSet:
    """Particles of unknown position."""
    return ParticleSet(np.full(n, "simulated"), np.full((n, 3), np.nan))
