"""The functions of AITom's DISCA under their names: a script in its manner, and its own results."""

from __future__ import annotations

import ast
import multiprocessing
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation
from sklearn.metrics.cluster import contingency_matrix

from aitom_disca.bridge import disca
from aitom_disca.errors import InputError

# A loop as users of AITom write it, but for the line of the import.
SCRIPT = """
from aitom_disca.bridge.disca import *

image_size, candidateKs, M, batch_size, lr = 6, [2], 2, 32, 1e-4
label_smoothing_factor, reg_covar = 0.2, 0.00001
x_train = pickle_load(data_path)
K = labels = labels_best = None
DBI_best, done, i = float("inf"), False, 0
while not done:
    if i == 0:
        model_feature = YOPO_feature(image_size)
    else:
        model_feature = keras.models.Model(
            inputs=model.get_layer("input_1").input, outputs=model.get_layer("fc2").output
        )
    model_feature.compile(loss="categorical_hinge", optimizer="adam")
    features = model_feature.predict(x_train, verbose=0)
    labels_temp, K, same_K, features_pca = statistical_fitting(
        features=features, labels=labels, candidateKs=candidateKs, K=K, reg_covar=reg_covar, i=i
    )
    if same_K:
        labels_temp = align_cluster_index(labels, labels_temp)
    i, labels, done = convergence_check(
        i=i, M=M, labels_temp=labels_temp, labels=labels, done=done
    )
    DBI = DDBI(features_pca, labels)
    if DBI < DBI_best:
        if i > 1:
            model.save(model_path)
            pickle_dump(labels, label_path)
        labels_best, DBI_best = labels, DBI
    label_one_hot, x_permute, label_smoothing_factor, labels_permute = prepare_training_data(
        x_train=x_train, labels=labels, label_smoothing_factor=label_smoothing_factor
    )
    if not same_K:
        model = update_output_layer(
            K=K, label_one_hot=label_one_hot, batch_size=batch_size,
            model_feature=model_feature, features=features, lr=lr,
        )
    lr *= 0.95
    keras.backend.set_value(model.optimizer.lr, lr)
    model.fit(x_permute, labels_permute, epochs=1, batch_size=batch_size, shuffle=True, verbose=0)
model.save(model_path)
"""


def blobs(n=12, edge=6) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = 0.3 * rng.normal(size=(n, edge, edge, edge, 1))
    x[: n // 2, 1:5, 1:5, 1:5] += 2
    x[n // 2 :, 2:4, :, 2:4] -= 2
    return x.astype(np.float32)


def test_a_script_in_aitoms_manner(tmp_path, uncompiled):
    disca.pickle_dump(blobs(), tmp_path / "x.pickle")
    names = {
        "data_path": tmp_path / "x.pickle",
        "model_path": str(tmp_path / "model.h5"),
        "label_path": str(tmp_path / "labels.pickle"),
    }
    np.random.seed(0)
    exec(SCRIPT, names)
    assert names["i"] == 2 and names["done"]
    assert names["features"].shape == (12, 1024)
    assert names["K"] == 2
    assert len({*names["labels"][:6]}) == len({*names["labels"][6:]}) == 1
    assert names["label_smoothing_factor"] == pytest.approx(0.2 * 0.81)
    assert names["x_permute"].shape == (24, 6, 6, 6, 1)
    assert float(names["model"].optimizer.lr) == pytest.approx(1e-4 * 0.95**2)
    again = disca.keras.models.load_model(tmp_path / "model.h5")
    for found, expected in zip(again.get_weights(), names["model"].get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


# A script of that time with functions of its own.
OWN = """
import keras
import numpy as np
from keras.layers import Conv3D, Dense, GlobalMaxPooling3D, Input
from aitom_disca.bridge.disca import *

def network(edge):
    begin = Input(shape=(edge, edge, edge, 1), name="input_1")
    kernel = keras.initializers.orthogonal()
    x = Conv3D(2, (3, 3, 3), kernel_initializer=kernel)(begin)
    return keras.models.Model(inputs=begin, outputs=Dense(4, name="fc2")(GlobalMaxPooling3D()(x)))

best, share = np.float("inf"), np.sum(np.array([1, 2]) == 1) / np.float(2)
kinds = [np.zeros(1, kind).dtype.kind for kind in (np.int, np.bool, np.complex, np.object, np.str)]
model = network(5)
again = keras.models.Model(
    inputs=model.get_layer("input_1").input, outputs=model.get_layer("fc2").output
)
"""


@pytest.mark.filterwarnings("ignore:The initializer")
def test_a_script_of_old_numpy_with_a_network_of_its_own():
    names = {}
    exec(OWN, names)
    assert names["best"] == float("inf") and names["share"] == 0.5
    assert names["kinds"] == ["i", "b", "c", "O", "U"]
    assert names["np"].sum is np.sum and names["np"].testing is np.testing
    assert names["again"].output_shape == (None, 4)
    assert not hasattr(np, "float") or np.float is float  # NumPy itself stays as it is


def test_the_network_is_the_published_one():
    model = disca.YOPO_feature(24)
    convolutions = [layer for layer in model.layers if "conv" in type(layer).__name__.lower()]
    channels = [layer.filters for layer in convolutions]
    assert channels == [64, 80, 96, 112, 128, 144, 160, 176, 192, 208]
    assert model.input_shape == (None, 24, 24, 24, 1) and model.output_shape == (None, 1024)
    assert model.get_layer("input_1").input is model.input
    head = disca.YOPO_classification(3)
    assert head.output_shape == (None, 3)


def test_weights_follow_numpys_seed():
    drawn = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        drawn.append(disca.YOPO_feature(5).get_weights()[0])
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


# -- clusters ----------------------------------------------------------------------------------


def test_clusters_get_the_names_they_had():
    ref = np.array([0, 0, 1, 1, 2, 2, 2])
    given = np.array([2, 2, 0, 0, 1, 1, 0])
    assert disca.align_cluster_index(ref, given).tolist() == [0, 0, 1, 1, 2, 2, 1]


@pytest.mark.parametrize(
    ("ref", "given", "said"),
    [
        ([0, 1, 0], [0, 0, 0], "equally many clusters"),
        ([0, 1], [0, 1, 0], "equally many clusters"),
        ([0, 2], [0, 1], "without gaps"),
    ],
)
def test_clusters_that_cannot_be_aligned(ref, given, said):
    with pytest.raises(InputError, match=said):
        disca.align_cluster_index(np.array(ref), np.array(given))


def test_empty_clusters_go():
    labels = np.array([5, 0, 9, 5])
    assert disca.remove_empty_cluster(labels).tolist() == [1, 0, 2, 1]
    assert labels.tolist() == [5, 0, 9, 5]


@pytest.mark.parametrize(
    ("i", "changed", "done", "expected"),
    [
        (0, 0, False, False),  # nothing to compare with yet
        (1, 0, False, True),
        (1, 1, False, True),  # 0.9995 stayed
        (1, 2, False, False),  # 0.999 is not enough
        (9, 2000, False, True),  # the last of 10
        (3, 2000, True, True),
    ],
)
def test_convergence(i, changed, done, expected):
    labels = np.zeros(2000, int)
    new = labels.copy()
    new[:changed] = 1
    before = None if i == 0 else labels
    assert disca.convergence_check(i, 10, new, before, done) == (i + 1, new, expected)


def test_one_cluster_has_no_index():
    assert np.isnan(disca.DDBI(np.random.default_rng(0).normal(size=(9, 2)), np.zeros(9, int)))


def test_the_number_of_clusters_is_found():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 60)
    features = rng.normal(size=(180, 40)) + 12 * rng.normal(size=(3, 40))[truth]
    labels, k, same, pca = disca.statistical_fitting(features, None, [2, 3, 5], None, 1e-5, 0)
    assert k == 3 and not same and pca.shape == (180, 16)
    assert all(len({*labels[truth == name]}) == 1 for name in range(3))
    again, k, same, _ = disca.statistical_fitting(features, labels, [2, 3, 5], k, 1e-5, 1)
    assert k == 3 and same
    np.testing.assert_array_equal(disca.align_cluster_index(labels, again), labels)


# -- training data -----------------------------------------------------------------------------


def test_training_data_belong_together():
    x, labels = blobs(6), np.array([0, 0, 1, 1, 2, 2])
    np.random.seed(3)
    hot, permuted, factor, targets = disca.prepare_training_data(x, labels, 0.3)
    assert factor == pytest.approx(0.27)
    assert hot.tolist() == np.eye(3)[labels].tolist()
    assert permuted.shape == (12, 6, 6, 6, 1) and targets.shape == (12, 3)
    np.testing.assert_allclose(targets.sum(axis=1), 1)
    assert targets.max() == pytest.approx(1 - 0.27 + 0.09)
    np.testing.assert_array_equal(x, blobs(6))
    seen = 0
    for volume, target in zip(permuted, targets, strict=True):
        same = [row for row in range(6) if np.array_equal(volume, x[row])]
        seen += len(same)
        assert not same or target.argmax() == labels[same[0]]
    assert seen == 6  # the others are rotated


def test_images_are_normalised():
    images = np.random.default_rng(0).normal(3, 2, (2, 4, 4, 4))
    found = disca.image_normalization(list(images))
    assert isinstance(found, list) and isinstance(found[0], list)
    assert np.mean(found[0]) == pytest.approx(0) and np.std(found[1], ddof=1) == pytest.approx(1)


def test_rotation_about_half_the_edge():
    """out(g) = data(Inv_R g): what lay at r comes to Inv_R^T r, from n / 2."""
    data = np.zeros((8, 8, 8))
    data[5, 4, 4] = 1.0  # x = 1 from the centre 4
    turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    out = disca.rotate3d_zyz(data, turn)
    assert np.unravel_index(out.argmax(), out.shape) == (4, 3, 4)  # turn^T (1, 0, 0) = (0, -1, 0)


def test_random_rotations_are_rotations():
    matrix = disca.random_rotation_matrix()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


# -- against AITom -----------------------------------------------------------------------------


def theirs(*names: str) -> list:
    """Functions of AITom's DISCA, which as a whole cannot be imported, with NumPy's old names."""
    if find_spec("aitom") is None:
        pytest.skip("AITom is not on the path")
    folder = Path(find_spec("aitom").submodule_search_locations[0])
    folder = folder / "classify" / "deep" / "unsupervised" / "disca"
    old = types.SimpleNamespace(**vars(np))
    old.float, old.int = float, int
    scope = {
        "np": old, "contingency_matrix": contingency_matrix, "reg_covar": 1e-5,
        "linear_sum_assignment": linear_sum_assignment, "multiprocessing": multiprocessing,
    }  # fmt: skip
    for file in ("util.py", "DISCA.py"):
        text = (folder / file).read_text().split("if __name__")[0]
        tree = ast.parse(text)
        tree.body = [part for part in tree.body if isinstance(part, ast.FunctionDef)]
        exec(compile(tree, file, "exec"), scope)
    return [scope[name] for name in names]


@pytest.mark.aitom
@pytest.mark.parametrize("seed", range(20))
def test_the_same_names_as_aitom(seed):
    (align,) = theirs("align_cluster_index")
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 7))
    ref, given = (
        rng.permutation(np.concatenate([np.arange(k), rng.integers(0, k, 4 * k)])) for _ in "ab"
    )
    np.testing.assert_array_equal(disca.align_cluster_index(ref, given), align(ref, given))


@pytest.mark.aitom
@pytest.mark.parametrize("k", [2, 5])
def test_the_same_index_as_aitom(k):
    (index,) = theirs("DDBI")
    rng = np.random.default_rng(k)
    labels = rng.permutation(np.repeat(np.arange(k), 30))
    features = (
        rng.normal(size=(30 * k, 6)) * rng.uniform(0.5, 2, (k, 6))[labels] + 2 * labels[:, None]
    )
    assert disca.DDBI(features, labels) == pytest.approx(index(features, labels), rel=1e-9)


@pytest.mark.aitom
@pytest.mark.parametrize("i", [0, 1, 7, 8])
@pytest.mark.parametrize("changed", [0, 1, 2, 500])
def test_the_same_convergence_as_aitom(i, changed):
    (check,) = theirs("convergence_check")
    labels = np.zeros(2000, int)
    new = np.where(np.arange(2000) < changed, 1, 0)
    found, expected = (f(i, 9, new, labels, False) for f in (disca.convergence_check, check))
    assert found[0] == expected[0] and found[2] == expected[2]
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.aitom
def test_the_same_helpers_as_aitom():
    remove, hot, smooth = theirs("remove_empty_cluster", "one_hot", "smooth_labels")
    labels = np.array([4, 1, 1, 7])
    np.testing.assert_array_equal(disca.remove_empty_cluster(labels), remove(labels.copy()))
    rows = hot(np.array([0, 2, 1]), 3)
    np.testing.assert_array_equal(disca.one_hot(np.array([0, 2, 1]), 3), rows)
    np.testing.assert_allclose(disca.smooth_labels(rows, 0.3), smooth(rows.copy(), 0.3))


@pytest.mark.aitom
@pytest.mark.parametrize("shape", [(8, 8, 8), (7, 9, 8)])
def test_the_same_rotation_as_aitom(shape, monkeypatch):
    import scipy

    monkeypatch.setattr(scipy, "mgrid", np.mgrid, raising=False)
    (rotate,) = theirs("rotate3d_zyz")
    data = np.random.default_rng(0).normal(size=shape)
    turn = Rotation.from_euler("ZYZ", [0.3, 1.0, -2.0]).as_matrix()
    np.testing.assert_allclose(disca.rotate3d_zyz(data, turn), rotate(data, turn), atol=1e-10)
