"""A trained model is what it was after it was saved; what can be sorted, and by which model."""

from __future__ import annotations

from dataclasses import fields, replace

import h5py
import numpy as np
import pytest

from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.clustering import GaussianMixtureModel, Projection
from aitom_disca.clustering.outliers import OutlierScorer
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.mining import Bundle
from aitom_disca.mining.check_subtomograms import as_source, check_against, check_for_fit
from aitom_disca.subtomograms.dataset import ArraySource


@pytest.fixture
def bundle(rng) -> Bundle:
    return Bundle(
        MineSettings(seed=7, mask_diameter_angstrom=120.0),
        17,
        13.5,
        [rng.normal(size=shape) for shape in [(2, 3), (3,)] * 6],  # ten and more, in their order
        Projection(rng.normal(size=5), rng.normal(size=(4, 5))),
        GaussianMixtureModel(np.array([0.3, 0.7]), rng.normal(size=(2, 3)), rng.random((2, 3, 3))),
        2.5,
        OutlierScorer(rng.random((2, 91)), rng.random(2)),
        LearntAverages(
            rng.normal(size=(2, 4, 4, 4)),
            rng.normal(size=2),
            rng.random(3),
            -1.5,
            (-60.0, 50.0),
            6.5,
            0.75,
            rng.random((2, 60)),
            rng.random((2, 4)),
        ),
    )


def same(one, other) -> None:
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if a is None:
            assert b is None, field.name
        else:
            np.testing.assert_array_equal(a, b, err_msg=field.name)


def test_everything_comes_back(bundle, tmp_path):
    bundle.save(tmp_path / "model.h5")
    found = Bundle.load(tmp_path / "model.h5")
    assert found.settings == bundle.settings
    assert (found.box_px, found.voxel_size_angstrom, found.temperature) == (17, 13.5, 2.5)
    for was, now in zip(bundle.weights, found.weights, strict=True):
        np.testing.assert_array_equal(was, now)
    for part in ("projection", "mixture", "outliers", "learnt"):
        same(getattr(bundle, part), getattr(found, part))
    embedded = np.arange(8.0).reshape(2, 4)
    np.testing.assert_array_equal(found.leading(embedded), embedded[:, :3])


def test_what_is_not_there_does_not_come_back(bundle, tmp_path):
    learnt = replace(bundle.learnt, fall_off=None, shell_weight=None)
    few = replace(bundle, voxel_size_angstrom=None, outliers=None, learnt=learnt)
    few.save(tmp_path / "model.h5")
    found = Bundle.load(tmp_path / "model.h5")
    assert found.voxel_size_angstrom is None and found.outliers is None
    same(learnt, found.learnt)
    replace(few, learnt=None).save(tmp_path / "model.h5")
    assert Bundle.load(tmp_path / "model.h5").learnt is None


def test_a_model_of_network_and_mixture_alone(bundle):
    few = Bundle(bundle.settings, 17, None, [], bundle.projection, bundle.mixture)
    assert few.temperature == 1 and few.outliers is None and few.learnt is None


def test_a_file_from_before_masks_has_none(bundle, tmp_path):
    bundle.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "a") as file:
        del file.attrs["crc32"], file["mixture"].attrs["temperature"]
        file.attrs["settings"] = b'{"seed": 3}'
        del file["learnt/mask_radius_px"], file["learnt/box_share"]
    old = Bundle.load(tmp_path / "model.h5")
    assert old.settings == MineSettings(seed=3, mask_diameter_angstrom=0.0)
    assert old.temperature == 1
    assert (old.learnt.mask_radius_px, old.learnt.box_share) == (np.inf, 1)


# -- what can be sorted ----------------------------------------------------------------------


def boxes(n: int, box_px: int) -> ArraySource:
    return ArraySource(np.zeros((n, box_px, box_px, box_px), np.float32))


def test_as_many_as_the_largest_k_are_enough():
    settings = MineSettings(candidate_k=(2, 9, 5))
    check_for_fit(boxes(9, 16), settings)
    with pytest.raises(InputError, match=r"at least 9 subtomograms.*there are 8"):
        check_for_fit(boxes(8, 16), settings)
    one = MineSettings(candidate_k=(1,))
    check_for_fit(boxes(2, 16), one)
    with pytest.raises(InputError, match="at least 2 subtomograms"):
        check_for_fit(boxes(1, 16), one)


@pytest.mark.parametrize(
    ("box_px", "working_box_px", "n_convolutions", "fits"),
    [
        (11, None, 5, True),
        (10, None, 5, False),
        (40, 11, 5, True),
        (40, 10, 5, False),
        (10, 40, 5, False),  # what is cropped to is not more than there is
        (3, None, None, True),
        (2, None, None, False),
    ],
)
def test_the_box_has_room_for_the_network(box_px, working_box_px, n_convolutions, fits):
    settings = MineSettings(
        candidate_k=(2,), working_box_px=working_box_px, n_convolutions=n_convolutions
    )
    if fits:
        check_for_fit(boxes(2, box_px), settings)
    else:
        with pytest.raises(InputError, match=f"of at least {2 * (n_convolutions or 1) + 1} voxels"):
            check_for_fit(boxes(2, box_px), settings)


def test_a_model_takes_its_own_box_and_nearly_its_own_voxel_size():
    source = boxes(2, 16)
    check_against(source, 16, 10.0)  # it does not say
    with pytest.raises(InputError, match=r"of 17 voxels.*have 16"):
        check_against(source, 17, None)
    source.voxel_size_angstrom = 10.0
    for known in (9.85, 10.15, None):
        check_against(source, 16, known)
    for known in (9.7, 10.3, 5.0):
        with pytest.raises(InputError, match=f"a voxel size of {known:g} A.*have 10 A"):
            check_against(source, 16, known)


def test_what_is_no_set_of_cubes_is_refused():
    source = boxes(2, 5)
    assert as_source(source) is source
    assert len(as_source(np.zeros((3, 5, 5, 5)))) == 3
    for shape, said in (((5, 5, 5), "has 3 dimensions"), ((2, 5, 5, 6), "is \\(5, 5, 6\\)")):
        with pytest.raises(InputError, match=said):
            as_source(np.zeros(shape))
    with pytest.raises(InputError, match="Complex data"):
        as_source(np.zeros((2, 5, 5, 5), complex))
