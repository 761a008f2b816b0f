"""Which known structure each average of a run is likest."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.averaging.compare_maps import compare_with_map
from aitom_disca.averaging.fsc import FscCurve
from aitom_disca.averaging.phase_randomisation import randomise_phases
from aitom_disca.averaging.validation import KnownMap
from aitom_disca.curation.averages import AVERAGES_TABLE, averages_now, read_averages
from aitom_disca.errors import InputError
from aitom_disca.io import open_map, write_rows_csv
from aitom_disca.number_text import counted
from aitom_disca.pipeline.average_inputs import map_names
from aitom_disca.progress import say, track
from aitom_disca.runs.run_folder import RunFolder
from aitom_disca.simulation.atomic_models import is_structure, read_structure

_MAP_ENDINGS = (".mrc", ".map", ".rec", ".mrc.gz", ".map.gz", ".mrc.bz2", ".map.bz2")
_FOLDER = re.compile(r"cluster_(\d+)")
_N_NULLS = 5
_STANDARD_DEVIATIONS = 3.0
_FIRST_RANDOM_SHELL = 2  # what random phases leave is size and roundness alone
_NYQUIST_VOXELS = 2.0


@dataclass(frozen=True)
class Identified:
    """What one average is likest.

    Parameters
    ----------
    cluster : int
        From 1.
    names : list of str
        Of the maps, the likest first.
    scores : list of float
        Mean Fourier shell correlation of average and map, inside the average's mask, over the
        shells up to the average's resolution.
    correlations : list of float
        Of the voxels inside the mask, in the same order.
    nulls : list of float
        Scores of the likest map with copies of the average whose phases are random: what size and
        chance alone give.
    """

    cluster: int
    names: list[str]
    scores: list[float]
    correlations: list[float]
    nulls: list[float]

    @property
    def over_second(self) -> float:
        """By how much the likest map is ahead of the next; NaN if there is one map only."""
        return self.scores[0] - self.scores[1] if len(self.scores) > 1 else float("nan")

    @property
    def noise(self) -> float:
        """The best score of random phases."""
        return max(self.nulls)

    @property
    def proposed(self) -> str | None:
        """The name, if its map leads noise and the next map by more than chance moves scores."""
        chance = _STANDARD_DEVIATIONS * float(np.std(self.nulls))
        ahead = self.scores[0] - max(self.noise, *self.scores[1:2])
        return self.names[0] if ahead > chance else None

    def row(self) -> dict[str, object]:
        """As a row of ``identified.csv``."""
        return {
            "cluster": self.cluster,
            "likest": self.names[0],
            "score": round(self.scores[0], 4),
            "correlation": round(self.correlations[0], 4),
            "second": self.names[1] if len(self.names) > 1 else "",
            "over_second": round(self.over_second, 4),
            "noise": round(self.noise, 4),
            "over_noise": round(self.scores[0] - self.noise, 4),
            "proposed": self.proposed or "",
        }


def identify(results: str | Path, maps: str | Path, *, seed: int = 0) -> list[Identified]:
    """Compare every average of a run with known structures; write ``identified.csv``.

    Parameters
    ----------
    results : path
        Folder of a run with averages, or that of the averages.
    maps : path
        Folder of density maps (MRC, also packed; protein bright) and atomic models (PDB, mmCIF).
    seed : int
        Of the random phases.

    Raises
    ------
    InputError
        If there are no averages, or no maps that can be read.
    """
    folder = RunFolder(results).averages
    if not folder.is_dir():
        folder = Path(results)
    numbered = {
        int(match[1]): path
        for path in sorted(folder.glob("cluster_*"))
        if (match := _FOLDER.fullmatch(path.name)) and (path / "average.mrc").is_file()
    }
    outdated = averages_now(folder).outdated
    for cluster in sorted({*numbered} & {*outdated}):
        say(f"the average of cluster {cluster} is left out: {outdated[cluster]}")
        del numbered[cluster]
    if not numbered:
        raise InputError(
            f"expected averages (cluster_01/average.mrc and so on) in {results}, but there are "
            "none; run `aitom-disca average` first."
        )
    resolutions = _resolutions(folder)
    first = open_map(next(iter(numbered.values())) / "average.mrc")
    known = read_known(
        Path(maps), first.voxel_size_angstrom, min(resolutions.values(), default=np.inf)
    )
    rng = np.random.default_rng(seed)
    found = [
        _named(cluster, path, known, resolutions.get(cluster, np.inf), rng)
        for cluster, path in track(list(numbered.items()), "identifying averages")
    ]
    write_rows_csv(folder / "identified.csv", [one.row() for one in found])
    return found


def read_known(
    folder: Path, voxel_size_angstrom: float, resolution_angstrom: float
) -> dict[str, KnownMap]:
    """The density maps and atomic models of a folder by name, the latter drawn with these voxels.

    Raises
    ------
    InputError
        If there are none, or one cannot be read.
    """
    files = sorted(p for p in folder.glob("*") if p.is_file()) if folder.is_dir() else [folder]
    finest = max(resolution_angstrom, _NYQUIST_VOXELS * voxel_size_angstrom)
    if not np.isfinite(finest):
        finest = 4 * voxel_size_angstrom
    known = [p for p in files if is_structure(p) or p.name.lower().endswith(_MAP_ENDINGS)]
    if not known:
        raise InputError(
            f"expected density maps (.mrc, .map) or atomic models (.pdb, .cif) in {folder}, but "
            "there are none."
        )
    found = {}
    for name, path in zip(map_names(known), known, strict=True):
        if is_structure(path):
            drawn = read_structure(path, voxel_size_angstrom, finest)
            found[name] = KnownMap(drawn.map_zyx, drawn.voxel_size_angstrom)
        else:
            opened = open_map(path)
            found[name] = KnownMap(opened.read(), opened.voxel_size_angstrom)
    say(f"{counted(len(found), 'known structure')}: {', '.join(found)}")
    return found


def _named(cluster: int, path: Path, *how: Any) -> Identified:
    """As `_identify_one`; what cannot be compared is said with its cluster."""
    try:
        return _identify_one(cluster, path, *how)
    except InputError as error:
        raise InputError(f"the average of cluster {cluster} cannot be compared: {error}") from error


def _identify_one(
    cluster: int,
    path: Path,
    known: Mapping[str, KnownMap],
    resolution_angstrom: float,
    rng: np.random.Generator,
) -> Identified:
    opened = open_map(path / "average.mrc")
    average, voxel = opened.read(), opened.voxel_size_angstrom
    mask = open_map(path / "mask.mrc").read() if (path / "mask.mrc").is_file() else None

    def compare(volume: np.ndarray, one: KnownMap) -> tuple[float, float]:
        made = compare_with_map(
            volume,
            one.volume,
            voxel_size_angstrom=voxel,
            known_voxel_size_angstrom=one.voxel_size_angstrom,
            rescale=True,
            mask=mask,
        )
        return mean_correlation(made.curve, resolution_angstrom), made.correlation

    names = list(known)
    compared = [compare(average, known[name]) for name in names]
    order = np.argsort([-score for score, _ in compared], kind="stable")
    likest = known[names[order[0]]]
    nulls = [
        compare(randomise_phases(average, _FIRST_RANDOM_SHELL, rng), likest)[0]
        for _ in range(_N_NULLS)
    ]
    return Identified(
        cluster,
        [names[i] for i in order],
        [compared[i][0] for i in order],
        [compared[i][1] for i in order],
        nulls,
    )


def mean_correlation(curve: FscCurve, resolution_angstrom: float) -> float:
    """Mean over the shells from the first to the resolution, three at least."""
    inside = curve.frequency_per_angstrom <= 1 / resolution_angstrom
    last = max(int(inside.sum()), 4) if np.isfinite(resolution_angstrom) else len(inside)
    return float(np.mean(curve.correlation[1:last]))


def propose(found: Sequence[Identified], results: str | Path) -> list[str]:
    """Lines that say what each average is, and the command that names them."""
    lines = []
    for one in found:
        second = f", {one.over_second:.2f} ahead of {one.names[1]}" if len(one.names) > 1 else ""
        what = f"{one.names[0]} ({one.scores[0]:.2f}{second}; noise {one.noise:.2f})"
        unsure = "" if one.proposed else "none of them for sure; likest "
        lines.append(f"cluster {one.cluster}: {unsure}{what}")
    named: dict[str, int] = {}
    for one in sorted(found, key=lambda one: -one.scores[0]):
        if one.proposed and one.proposed not in named:
            named[one.proposed] = one.cluster
    if named:
        by_cluster = sorted((cluster, name) for name, cluster in named.items())
        options = [word for k, name in by_cluster for word in ("--name", f"{k}={name}")]
        command = shlex.join(["aitom-disca", "curate", str(results), *options])
        lines.append(f"to name them: {command}")
    return lines


def _resolutions(folder: Path) -> dict[int, float]:
    """Resolution of every average by its number, where the table has it."""
    table = folder / AVERAGES_TABLE
    if not table.is_file():
        return {}
    found = {}
    for row in read_averages(table):
        text = row.get("resolution_0.143_angstrom", "")
        if text:
            found[int(row["cluster"])] = float(text)
    return found
