"""The cases of the benchmark: what is simulated, and what should be reached."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from aitom_disca.errors import InputError

FIVE = ("1qvr", "6rd4", "3j9i", "4v4r", "2uv8")
ONE_SIZE = ("1qvr", "1bxn", "3cf3", "1u6g", "3j9i")
TEN = (*FIVE, "1bxn", "3cf3", "1u6g", "4cr2", "3h84")
# With five of the built-in phantoms, by their own names.
FIFTEEN = (*TEN, "barrel", "chaperone", "ring", "rod", "two_lobes")
Kind = Literal["ari", "rare", "noise", "single"]


@dataclass(frozen=True)
class Case:
    """One row of the benchmark.

    Parameters
    ----------
    name : str
        As given to ``--cases``.
    title : str
        As printed.
    templates : tuple of str
        The structures; of the kind ``single`` one of them is taken, another with every seed.
    per_class : int or tuple of int
        Subtomograms of each.
    target_median, target_worst : float, optional
        Of the case's score over the seeds: the ARI, the recall of the first (rare) class, the
        precision of the clusters among false picks, or the share of runs with the right K.
    k_tolerance : int, optional
        How far K may be from the truth; None where it is not judged.
    seconds_most : float, optional
        Time allowed on 2 cores.
    above_start : bool
        Whether no run may end below the first clustering of its own (the method ``start``).
    box_px, voxel_size_angstrom, snr, tilt_max_deg, shift_max_px
    gain_spread, offset_spread, n_noise
        As in `aitom_disca.simulation.simulate_subtomograms`.
    smallest_k, largest_k : int
        The candidates for the number of clusters.
    kind : {"ari", "rare", "noise", "single"}
        How the case is scored.
    needs_maps : bool
        Whether phantoms cannot stand in for density maps, since some are structures themselves.
    """

    name: str
    title: str
    templates: tuple[str, ...] = FIVE
    per_class: int | tuple[int, ...] = 100
    target_median: float | None = None
    target_worst: float | None = None
    k_tolerance: int | None = None
    seconds_most: float | None = None
    above_start: bool = False
    box_px: int = 24
    voxel_size_angstrom: float = 14.0
    snr: float = 0.1
    tilt_max_deg: float = 60.0
    shift_max_px: float = 2.0
    gain_spread: float = 0.0
    offset_spread: float = 0.0
    n_noise: int = 0
    smallest_k: int = 2
    largest_k: int = 12
    kind: Kind = "ari"
    needs_maps: bool = False

    @property
    def candidate_k(self) -> tuple[int, ...]:
        """The numbers of clusters to choose from."""
        return tuple(range(self.smallest_k, self.largest_k + 1))

    @property
    def tilt_range_deg(self) -> tuple[float, float]:
        """The measured tilts."""
        return -self.tilt_max_deg, self.tilt_max_deg

    @property
    def k_true(self) -> int:
        """How many structures there are."""
        return 1 if self.kind == "single" else len(self.templates)

    def structures(self, seed: int) -> tuple[str, ...]:
        """The structures that are simulated with this seed."""
        if self.kind == "single":
            return (self.templates[seed % len(self.templates)],)
        return self.templates

    def counts(self, fraction: float = 1.0) -> tuple[list[int], int]:
        """Subtomograms of each structure, and of noise alone, for a part of the case."""
        n = self.k_true
        per_class = [self.per_class] * n if isinstance(self.per_class, int) else self.per_class
        return [max(1, round(fraction * m)) for m in per_class], round(fraction * self.n_noise)

    def record(self) -> dict[str, Any]:
        """What decides the data, as plain values."""
        unused = {"title", "target_median", "target_worst", "k_tolerance", "seconds_most"}
        return {
            k: v for k, v in asdict(self).items() if k not in unused | {"above_start", "needs_maps"}
        }


_ALL = (
    Case(
        "snr-0.1",
        "SNR 0.1, tilt ±60°",
        target_median=1.00,
        target_worst=0.99,
        k_tolerance=0,
        seconds_most=60,
    ),
    Case(
        "tilt-40",
        "SNR 0.1, tilt ±40°",
        tilt_max_deg=40,
        target_median=0.99,
        target_worst=0.97,
        k_tolerance=0,
    ),
    Case("snr-0.05", "SNR 0.05", snr=0.05, target_median=0.98, target_worst=0.95, k_tolerance=0),
    Case("snr-0.03", "SNR 0.03", snr=0.03, target_median=0.95, target_worst=0.90, k_tolerance=0),
    Case(
        "snr-0.01",
        "SNR 0.01, 400 per class",
        snr=0.01,
        per_class=400,
        target_median=0.75,
        target_worst=0.60,
    ),
    Case(
        "one-size",
        "five of one size, 10 Å voxels, SNR 0.1",
        ONE_SIZE,
        voxel_size_angstrom=10,
        target_median=0.80,
        target_worst=0.65,
        above_start=True,
    ),
    Case(
        "one-size-snr-0.5",
        "five of one size, 10 Å voxels, SNR 0.5",
        ONE_SIZE,
        voxel_size_angstrom=10,
        snr=0.5,
        target_median=0.97,
        target_worst=0.93,
    ),
    Case(
        "ten",
        "ten structures, 60 per class, SNR 0.1",
        TEN,
        per_class=60,
        target_median=0.90,
        target_worst=0.80,
        k_tolerance=1,
    ),
    Case(
        "fifteen",
        "fifteen structures, 60 per class, SNR 0.1",
        FIFTEEN,
        per_class=60,
        target_median=0.95,
        target_worst=0.90,
        k_tolerance=1,
        largest_k=22,  # as by default: one for 40 subtomograms
        needs_maps=True,
    ),
    Case(
        "rare",
        "one structure is 2 % of 1000, SNR 0.1",
        per_class=(20, 245, 245, 245, 245),
        target_median=0.80,
        kind="rare",
    ),
    Case(
        "contrast",
        "gain ±30 % and offset per particle, SNR 0.1",
        gain_spread=0.3,
        offset_spread=1.0,
        target_median=1.00,
        target_worst=0.99,
        k_tolerance=0,
    ),
    Case(
        "shifts",
        "shifts up to 4 voxels, SNR 0.1",
        shift_max_px=4,
        target_median=0.97,
        target_worst=0.93,
    ),
    Case(
        "false-picks",
        "half of the set is noise alone, SNR 0.1",
        n_noise=500,
        target_median=0.95,
        kind="noise",
    ),
    Case(
        "single",
        "one structure alone, 300 copies, SNR 0.1",
        per_class=300,
        smallest_k=1,
        target_median=1.0,
        target_worst=1.0,
        k_tolerance=0,
        kind="single",
    ),
)
CASES = {case.name: case for case in _ALL}


def choose_cases(names: list[str], with_maps: bool = True) -> list[Case]:
    """Cases by name; without names all, but for those that need density maps where there are none.

    Raises
    ------
    InputError
        If a name is unknown.
    """
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise InputError(f"there is no case {unknown[0]!r}; choose from {', '.join(CASES)}.")
    if names:
        return [CASES[name] for name in names]
    return [case for case in CASES.values() if with_maps or not case.needs_maps]
