"""What a card says of a cluster, and the colours that clusters have everywhere.

Free of HTML and quick to import: whatever shows clusters, on paper or on a screen, takes the same
cards, the same colours, and the same style sheet (`STYLE_SHEET`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aitom_disca.colours import cluster_colour
from aitom_disca.report.verdict_of_cluster import IN_ORDER, Verdict

if TYPE_CHECKING:
    from aitom_disca.io import SubtomogramStore

STYLE_SHEET = Path(__file__).with_name("cards.css")  # of cards: light, dark, and printed
N_MEMBERS = 9  # of a cluster, on its card
_SHOWN_DIAMETERS = 2.0
_SMOOTH_DIAMETERS = 0.08  # standard deviation of the Gaussian that low-passes members


@dataclass(frozen=True)
class ClusterCard:
    """All that a card shows of a cluster.

    Parameters
    ----------
    number : int
        From 1.
    size : int
        Subtomograms.
    share : float
        Of all subtomograms, 0 to 1.
    name : str
        That a person gave; empty if none did.
    posterior : float, optional
        Mean probability of its members to belong to it, 0 to 1.
    found : str
        In how many runs it was found, where there were several.
    verdict : {"to be trusted", "look again", "not told from noise", "not judged"}
        See `aitom_disca.report.verdict_of_cluster.judge`.
    doubts : sequence of str
        Why it is not to be trusted as it stands, in sentences.
    rank : int
        From 1, the most to be trusted first.
    resolution_angstrom : float, optional
        Where the corrected Fourier shell correlation of the halves falls below 0.143; None where
        nothing was averaged, or the halves share nothing.
    resolution : str
        The same in words; empty where nothing was averaged.
    noise_p_value : float, optional
        Probability that noise fits the average as well as the members do.
    fit_better_than_noise : float, optional
        Probability that a member fits the average that it has no part in better than noise does:
        0.5 by chance, 1 always.
    against_noise : str
        Both in a sentence; empty where nothing was tested.
    orientations : str
        From which sides its members are seen, in a sentence; empty where that is not known.
    pictures : mapping of str to path
        PNG files, as far as they are there: ``surface``, ``slices``, ``fsc``, ``orientations``.
    volume_file : path, optional
        MRC of the average, filtered to what its halves share; protein bright.
    mean_zyx : ndarray of shape (z, y, x), optional
        Mean of the members, where there is no average.
    mean_is_aligned : bool
        Whether members were aligned to one another before that.
    voxel_size_angstrom : float, optional
        Of the volume.
    diameter_angstrom : float, optional
        At which its members were picked, the median; of all particles where that is not known.
    member_rows : sequence of int
        Rows of the store: the members that are surest to belong to it.
    """

    number: int
    size: int
    share: float
    name: str = ""
    posterior: float | None = None
    found: str = ""
    verdict: Verdict = "not judged"
    doubts: Sequence[str] = ()
    rank: int = 1
    resolution_angstrom: float | None = None
    resolution: str = ""
    noise_p_value: float | None = None
    fit_better_than_noise: float | None = None
    against_noise: str = ""
    orientations: str = ""
    pictures: Mapping[str, Path] = field(default_factory=dict)
    volume_file: Path | None = None
    mean_zyx: np.ndarray | None = None
    mean_is_aligned: bool = True
    voxel_size_angstrom: float | None = None
    diameter_angstrom: float | None = None
    member_rows: Sequence[int] = ()

    @property
    def colour(self) -> str:
        """Its colour, as in ``#0077bb``."""
        return cluster_colour(self.number - 1)

    @property
    def title(self) -> str:
        """Its number and, if it has one, its name."""
        return f"Cluster {self.number}" + (f": {self.name}" if self.name else "")

    def volume_zyx(self) -> np.ndarray | None:
        """The average, read now, or the mean of the members; None where there is neither."""
        if self.volume_file is None:
            return self.mean_zyx
        from aitom_disca.io.tomograms.mrc import read_voxels

        return read_voxels(self.volume_file)

    def shown_px(self, voxel_size_angstrom: float, box_px: int) -> int:
        """Edge of what is shown of a box: about twice the diameter, and no more than there is."""
        if self.diameter_angstrom is None:
            return box_px
        wanted = round(_SHOWN_DIAMETERS * self.diameter_angstrom / voxel_size_angstrom)
        return min(box_px, max(8, wanted))


def ranked(cards: Iterable[ClusterCard]) -> list[ClusterCard]:
    """Cards in order of trust: by verdict, fewest doubts, finest resolution, most members."""
    ordered = sorted(
        cards,
        key=lambda card: (
            IN_ORDER.index(card.verdict),
            len(card.doubts),
            np.inf if card.resolution_angstrom is None else card.resolution_angstrom,
            -card.size,
        ),
    )
    return [replace(card, rank=rank) for rank, card in enumerate(ordered, 1)]


def member_slices(
    store: SubtomogramStore, card: ClusterCard, rows: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Central x–y slices of members of a cluster, as they are and low-passed.

    Parameters
    ----------
    store : SubtomogramStore
    card : ClusterCard
        Whose diameter says how much of the box is shown.
    rows : sequence of int, optional
        Of the store; those of the card, unless given.

    Returns
    -------
    raw, smooth : ndarray of shape (n, y, x)
        Protein bright. The Gaussian of the second has a standard deviation of 8 % of the
        particle's diameter, and of one voxel at the least.
    """
    from aitom_disca.subtomograms.preprocess import low_pass

    volumes = store.read(np.asarray(card.member_rows if rows is None else rows, int))
    voxel, box_px = store.voxel_size_angstrom, volumes.shape[-1]
    diameter_px = box_px / 1.6 if card.diameter_angstrom is None else card.diameter_angstrom / voxel
    smooth = low_pass(volumes, max(1.0, _SMOOTH_DIAMETERS * diameter_px))
    n = card.shown_px(voxel, box_px)
    first = box_px // 2 - n // 2
    seen = slice(None), box_px // 2, slice(first, first + n), slice(first, first + n)
    return volumes[seen], smooth[seen]
