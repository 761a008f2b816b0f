"""A trained model in one file: network weights, projection, mixture, settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.clustering import GaussianMixtureModel, Projection
from aitom_disca.clustering.outliers import OutlierScorer
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.io.disk.checksums import as_bytes, as_text, check_seal, seal
from aitom_disca.io.disk.hdf5 import new_file
from aitom_disca.io.disk.reading import reading

_FORMAT = "aitom_disca model 1"


@dataclass(frozen=True)
class Bundle:
    """What `DISCA.predict` needs.

    Parameters
    ----------
    settings : MineSettings
    box_px : int
        Edge of the subtomograms as stored.
    voxel_size_angstrom : float or None
        Of these subtomograms; None where it is not known.
    weights : list of ndarray
        Of the feature extractor, in Keras' order.
    projection : Projection
    mixture : GaussianMixtureModel
    temperature : float
        Of the posterior; 1 in a file from before there was one.
    outliers : OutlierScorer or None
        None in a file from before there was one.
    learnt : LearntAverages or None
        None where nothing was aligned, or in a file from before they were kept.
    """

    settings: MineSettings
    box_px: int
    voxel_size_angstrom: float | None
    weights: list[np.ndarray]
    projection: Projection
    mixture: GaussianMixtureModel
    temperature: float = 1.0
    outliers: OutlierScorer | None = None
    learnt: LearntAverages | None = None

    def leading(self, embedded: np.ndarray) -> np.ndarray:
        """The components of an embedding (n, n_components) that the mixture looks at."""
        return embedded[:, : self.mixture.means.shape[1]]

    def save(self, path: str | Path) -> None:
        """Write the bundle as HDF5, atomically."""
        with new_file(path) as file:
            file.attrs["format"] = as_bytes(_FORMAT)
            file.attrs["settings"] = as_bytes(json.dumps(self.settings.model_dump()))
            file.attrs["box_px"] = self.box_px
            if self.voxel_size_angstrom is not None:
                file.attrs["voxel_size_angstrom"] = self.voxel_size_angstrom
            for i, array in enumerate(self.weights):
                file[f"weights/{i:03d}"] = array
            for part in ("mean", "axes"):
                file[f"projection/{part}"] = getattr(self.projection, part)
            for part in ("weights", "means", "covariances"):
                file[f"mixture/{part}"] = getattr(self.mixture, part)
            file["mixture"].attrs["temperature"] = self.temperature
            if self.outliers is not None:
                for part in ("distances", "tails"):
                    file[f"outliers/{part}"] = getattr(self.outliers, part)
            if self.learnt is not None:
                for field in fields(LearntAverages):
                    value = getattr(self.learnt, field.name)
                    if value is not None:
                        file[f"learnt/{field.name}"] = value
            seal(file)

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read a bundle.

        Raises
        ------
        InputError
            If the file is missing, damaged, or not a bundle.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"expected a trained model, but {path} does not exist.")
        with (
            reading(path, "a trained model", "give the model.h5 of a finished run"),
            h5py.File(path) as file,
        ):
            if as_text(file.attrs.get("format")) != _FORMAT:
                raise InputError(
                    f"expected a trained model of aitom_disca, but {path} is not one; give the "
                    "model.h5 of a finished run."
                )
            check_seal(file, path)
            return cls._read(file)

    @classmethod
    def _read(cls, file: h5py.File) -> Bundle:
        voxel_size = file.attrs.get("voxel_size_angstrom")
        outliers = None
        if "outliers" in file:
            outliers = OutlierScorer(*(file[f"outliers/{p}"][()] for p in ("distances", "tails")))
        learnt = None
        if "learnt" in file:
            names = {f.name for f in fields(LearntAverages)} & {*file["learnt"]}  # older: no mask
            learnt = LearntAverages(**{name: file[f"learnt/{name}"][()] for name in names})
        return cls(
            settings=_settings(json.loads(file.attrs["settings"])),
            box_px=int(file.attrs["box_px"]),
            voxel_size_angstrom=None if voxel_size is None else float(voxel_size),
            weights=[file[f"weights/{name}"][()] for name in sorted(file["weights"])],
            projection=Projection(*(file[f"projection/{p}"][()] for p in ("mean", "axes"))),
            mixture=GaussianMixtureModel(
                *(file[f"mixture/{p}"][()] for p in ("weights", "means", "covariances"))
            ),
            temperature=float(file["mixture"].attrs.get("temperature", 1.0)),
            outliers=outliers,
            learnt=learnt,
        )


def _settings(saved: dict[str, Any]) -> MineSettings:
    """Settings as they were saved; models from before there were masks had none."""
    try:
        return MineSettings(**{"mask_diameter_angstrom": 0.0, **saved})
    except InputError as error:
        raise ValueError(str(error)) from error  # `reading` says in which file
