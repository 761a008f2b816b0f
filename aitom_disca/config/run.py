"""Settings of averaging, and of a whole run."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

from pydantic import Field

from aitom_disca.config.alignment import TO_REFERENCE, ToReferenceSettings
from aitom_disca.config.base import Settings, WithConstants
from aitom_disca.config.mine import MineSettings
from aitom_disca.config.pick_and_extract import ExtractSettings, OpticsSettings, PickSettings

RelionVersion = Literal["3.1", "5"]

# Where a run ends. With the preset fast, whose sorting is by alignment already, nothing is refined.
Until = Literal["mine", "refine", "average", "embed"]
UNTIL: tuple[Until, ...] = get_args(Until)


class AverageSettings(WithConstants):
    """How clusters are averaged, and how the averages are judged."""

    _constants: ClassVar[str] = "to_reference"

    mask: str = Field("sphere", min_length=1)  # sphere, density, or the path of a map
    # Of a soft sphere in which averages are looked at; None: the particles' diameter and 15 %, or
    # the box over 1.6 for that diameter where none is known.
    mask_diameter_angstrom: float | None = Field(None, gt=0)
    graded_wedge: bool = True  # as in `MineSettings`
    symmetry: str = "C1"  # a point group of RELION
    # fft: all rotations are searched; gumnet: a network decides; gumnet+fft: the better of both.
    aligner: Literal["fft", "gumnet", "gumnet+fft"] = "fft"
    gumnet: str | None = None  # the network's file
    null_test: Literal["none", "noise", "others"] = "noise"
    b_factor_angstrom2: float | Literal["auto"] | None = None
    # Members of a cluster that are averaged, drawn at random; the others are laid on the outcome.
    most: int = Field(1000, ge=4)
    # Of two members that come to lie nearer to one another one goes; None: a quarter of the box.
    min_distance_angstrom: float | None = Field(None, ge=0)
    seed: int = Field(0, ge=0)
    # How members beyond the most are laid on the average; None: as is measured, `TO_REFERENCE`.
    to_reference: ToReferenceSettings | None = None

    @property
    def constants(self) -> ToReferenceSettings:
        """The constants by which members are laid on an average."""
        return self.to_reference or TO_REFERENCE


class RunSettings(Settings):
    """Everything that decides the result of a run."""

    voxel_size_angstrom: float | None = Field(None, gt=0)  # None: the header's
    tilt_range_deg: tuple[float, float] | None = None  # None: the header's
    dark_protein: bool = False
    optics: OpticsSettings = OpticsSettings()
    pick: PickSettings = PickSettings()
    picks: tuple[str, ...] = ()  # files of picks, in place of picking
    file_pixel_angstrom: float | None = Field(None, gt=0)  # of these; None: what they say
    tomogram_name: str | None = None  # of those that do not say it
    pick_on: tuple[str, ...] = ()  # other versions of the tomograms, to pick on
    extract: ExtractSettings = ExtractSettings()
    mine: MineSettings = MineSettings()
    average: AverageSettings = AverageSettings()
    until: Until = "embed"
    runs: int = Field(1, ge=1)  # of mining, with other seeds
    # Of sorting: each after the first begins with a search by the averages, and the last one is
    # that which gains few particles.
    rounds: int = Field(1, ge=1)
    relion: RelionVersion = "3.1"

    @property
    def n_rounds(self) -> int:
        """Rounds at most: one where picks were brought, nothing was aligned, or runs are many."""
        one = self.picks or not self.mine.alignment or self.runs > 1
        return 1 if one else self.rounds
