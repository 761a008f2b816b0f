"""DISCA as an estimator of scikit-learn: its own checks, and what people build on it."""

from __future__ import annotations

import inspect
import pickle
import re
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from sklearn.base import clone, is_clusterer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator

pytest.importorskip("keras")

from aitom_disca import DISCA, InputError, MineSettings
from aitom_disca.config import PRESETS
from aitom_disca.mining import feature_extraction, predicting, published_loop
from aitom_disca.mining import parameters as parameters_module

EDGE = 6
TINY: dict[str, Any] = {
    "preset": "paper",
    "candidate_k": (2,),
    "max_iterations": 1,  # nothing is trained, so that one network serves all
    "width": 0.1,
    "n_convolutions": 2,
    "n_features": 8,
    "pca_dimensions": 3,
    "n_starts": 1,
}
# Checks that are about tables, where subtomograms have four axes, or about their messages.
NOT_OF_VOLUMES = {
    "check_n_features_in": "volumes have a box, not a number of features",
    "check_n_features_in_after_fitting": "volumes have a box, not a number of features",
    "check_transformer_general": "the box, which is checked, is that of all tables of the wrapper",
    "check_estimators_dtypes": "as integers some rows are constant, which is refused",
    "check_estimators_empty_data_messages": "expects words about features",
    "check_fit2d_1feature": "expects words about features",
    "check_fit2d_1sample": "expects 'sample' where we say subtomogram",
    "check_fit2d_predict1d": "expects words about the shape of tables",
    "check_estimator_sparse_tag": "no volume is sparse",
    "check_estimator_sparse_array": "no volume is sparse",
    "check_estimator_sparse_matrix": "no volume is sparse",
    "check_array_api_input": "needs another array library",
}


class OfTables(DISCA):
    """DISCA for the tables (n, m) of scikit-learn's checks: a row fills up a cube."""

    @staticmethod
    def _cubes(X: Any) -> Any:
        X = np.asarray(X)
        if X.ndim != 2:
            return X
        cubes = np.zeros((len(X), EDGE**3), X.dtype)
        cubes[:, : X.shape[1]] = X
        return cubes.reshape(-1, EDGE, EDGE, EDGE)

    def fit(self, X, y=None, **options):
        return super().fit(self._cubes(X), y, **options)

    def transform(self, X):
        return super().transform(self._cubes(X))

    def predict_all(self, X, **options):
        return super().predict_all(self._cubes(X), **options)

    def predict_proba(self, X, **options):
        return super().predict_proba(self._cubes(X), **options)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def name_of(check: Any) -> str:
    return getattr(check, "func", check).__name__


CHECKS = [
    pytest.param(check, id=f"{name_of(check)}-{i}")
    for i, (_, check) in enumerate(estimator_checks_generator(OfTables(**TINY)))
    if name_of(check) not in NOT_OF_VOLUMES
]


@pytest.fixture(autouse=True)
def one_network(monkeypatch):
    """Networks of the same settings are built once."""
    for module in (published_loop, predicting):
        monkeypatch.setattr(module, "build_extractor", _built)


_built = lru_cache(feature_extraction.build_extractor)


@pytest.fixture(scope="module")
def volumes():
    return np.random.default_rng(0).normal(size=(20, EDGE, EDGE, EDGE)).astype(np.float32)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.filterwarnings("ignore")
def test_checks_of_scikit_learn(check):
    check(OfTables(**TINY))


def test_checks_that_are_left_out_exist():
    known = {name_of(check) for _, check in estimator_checks_generator(OfTables(**TINY))}
    of_late_versions = {"check_array_api_input", "check_estimator_sparse_tag"}
    assert known >= {*NOT_OF_VOLUMES} - of_late_versions


# -- parameters ----------------------------------------------------------------------------


def parameters() -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(DISCA).parameters)


def test_parameters_are_the_settings():
    given = parameters()
    assert [*given] == [*MineSettings.model_fields, "rotate"]
    of_preset = {name for changes in PRESETS.values() for name in changes}
    for name, field in MineSettings.model_fields.items():
        expected = "preset" if name in of_preset else field.default
        assert given[name].default == expected, name
        assert (given[name].kind is inspect.Parameter.KEYWORD_ONLY) == (name != "preset")


def kinds(hint: Any) -> set[Any]:
    """What a type hint allows, without limits; numbers of clusters come as any sequence."""
    if get_origin(hint) is None:
        return {hint}
    if get_origin(hint) is Literal:
        return {*get_args(hint)}
    if get_origin(hint).__name__ in ("tuple", "Sequence"):
        return {"sequence"}
    return {kind for part in get_args(hint) for kind in kinds(part)}


def test_types_of_parameters_are_those_of_the_settings():
    own = get_type_hints(DISCA.__init__, {**vars(parameters_module), "RotateVolumes": Any})
    for name, field in MineSettings.model_fields.items():
        assert kinds(own[name]) - {"preset"} == kinds(field.annotation), name


def test_every_parameter_is_described():
    said = inspect.cleandoc(DISCA.__doc__).split("Parameters\n")[1].split("Attributes\n")[0]
    described = re.findall(r"^(\w+(?:, \w+)*) : ", said, re.MULTILINE)
    assert ", ".join(described).split(", ") == [*parameters()]


def test_a_preset_fills_what_is_not_given_and_stays_in_clones():
    disca = DISCA("paper", width=0.5, candidate_k=range(2, 5))
    assert disca.settings == MineSettings.from_preset("paper", width=0.5, candidate_k=(2, 3, 4))
    assert repr(disca) == "DISCA(candidate_k=range(2, 5), preset='paper', width=0.5)"
    again = clone(disca)
    assert again.settings == disca.settings and again.get_params() == disca.get_params()
    again.set_params(preset="fast")  # what was given stays, the rest follows
    assert again.settings == MineSettings(width=0.5, candidate_k=(2, 3, 4))
    assert disca.preset == "paper"


@pytest.mark.parametrize("preset", PRESETS)
def test_from_settings_and_back(preset):
    settings = MineSettings.from_preset(preset, seed=7, n_features=99, outlier_quantile=None)
    disca = DISCA.from_settings(settings, rotate=max)
    assert disca.settings == settings == clone(disca).settings
    assert clone(disca).rotate is max
    given = "n_features=99, outlier_quantile=None"
    assert given in repr(disca) and "width" not in repr(disca)


def test_misspelt_parameters(volumes):
    with pytest.raises(TypeError, match="'sed'"):
        DISCA(sed=0)
    with pytest.raises(ValueError, match="'sed'"):
        DISCA().set_params(sed=0)
    disca = DISCA(**TINY).set_params(seed=-1)
    with pytest.raises(InputError, match="seed = -1 cannot be used"):
        disca.fit(volumes)


# -- what is built on it -------------------------------------------------------------------


def test_volumes_have_four_axes_as_the_tags_say(volumes):
    assert is_clusterer(DISCA()) and not DISCA().__sklearn_tags__().input_tags.two_d_array
    with pytest.raises(InputError, match="Complex data not supported"):
        DISCA(**TINY).fit(volumes * 1j)


def test_pipelines_and_data_frames(volumes):
    fitted = DISCA(**TINY).fit(-volumes)
    bright = make_pipeline(FunctionTransformer(np.negative), DISCA(**TINY))
    np.testing.assert_array_equal(bright.fit_predict(volumes), fitted.labels_)
    np.testing.assert_allclose(bright.transform(volumes), fitted.embedding_, atol=1e-5)
    table = DISCA(**TINY).set_output(transform="pandas").fit_transform(-volumes)
    assert [*table.columns] == ["disca0", "disca1", "disca2"]
    np.testing.assert_array_equal(table, fitted.embedding_)


def test_a_fitted_estimator_survives_pickling_and_a_clone_is_unfitted(volumes):
    fitted = DISCA(**TINY).fit(volumes)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(volumes), fitted.predict(volumes))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        clone(fitted).predict(volumes)
