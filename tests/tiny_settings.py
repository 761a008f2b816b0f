"""Settings with which a whole run takes seconds, for tests of what surrounds the sorting."""

from __future__ import annotations

from typing import Any

from aitom_disca.config import MineSettings

# A loop of the network alone, once.
MINE = MineSettings(
    candidate_k=(2, 3),
    max_iterations=1,
    alignment=False,
    working_box_px=10,
    width=0.05,
    n_convolutions=2,
    n_features=16,
    n_cube_rotations=1,
    pca_dimensions=4,
    n_starts=1,
)
# In place of the preset `paper`: a network that is trained.
TRAINED: dict[str, Any] = {
    "candidate_k": (2, 3),
    "max_iterations": 3,
    "width": 0.1,
    "n_convolutions": 1,
    "n_features": 12,
    "pca_dimensions": 4,
    "n_starts": 1,
    "reg_covar": 1e-3,
    "batch_size": 48,
    "learning_rate": 1e-2,
    "stop_fraction": 1.0,
}
