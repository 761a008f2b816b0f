"""Figure of the Fourier shell correlation of two half maps."""

from __future__ import annotations

import numpy as np

from aitom_disca.averaging.fsc import CorrectedFsc
from aitom_disca.report.figure_style import MUTED, new_figure, png_of

_CURVES = (
    ("unmasked", "unmasked", "#8a8f98", "-"),
    ("masked", "masked", "#33bbee", "-"),
    ("randomised", "phases randomised", "#ee7733", "--"),
    ("corrected", "corrected", "#0077bb", "-"),
)
_THRESHOLDS = (0.143, 0.5)


def draw_fsc(fsc: CorrectedFsc) -> bytes:
    """Draw the four curves against the resolution, with the usual thresholds."""
    figure, axes = new_figure(5.2, 3.2)
    for name, text, colour, style in _CURVES:
        curve = getattr(fsc, name)
        width = 2.0 if name == "corrected" else 1.2
        axes.plot(
            curve.frequency_per_angstrom, curve.correlation, style, color=colour, label=text,
            linewidth=width,
        )  # fmt: skip
    for threshold in _THRESHOLDS:
        axes.axhline(threshold, color=MUTED, linewidth=0.8, linestyle=":")
    largest = float(fsc.unmasked.frequency_per_angstrom[-1])
    ticks = np.linspace(0, largest, 6)[1:]
    axes.set_xticks(ticks, [f"{1 / tick:.0f}" for tick in ticks])
    axes.set_xlim(0, largest)
    axes.set_ylim(min(-0.1, float(fsc.corrected.correlation.min())), 1.05)
    axes.set_xlabel("resolution (Å)")
    axes.set_ylabel("Fourier shell correlation")
    axes.legend(frameon=False, fontsize=8)
    return png_of(figure)
