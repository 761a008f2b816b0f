"""The audit names what sorted the subtomograms, and is silent where structure did."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2_contingency, kruskal, mannwhitneyu

from aitom_disca.analysis import audit, measure_properties
from aitom_disca.analysis.association import (
    associate_names,
    associate_numbers,
    cramers_v,
    holm,
)
from aitom_disca.analysis.properties import main_axes_zyx
from aitom_disca.config import ExtractSettings
from aitom_disca.io import StoreWriter, open_store, open_tomogram, write_volume
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.simulation import load_phantoms, simulate_subtomograms, simulate_tomogram
from aitom_disca.subtomograms import extract_subtomograms
from aitom_disca.subtomograms.dataset import ArraySource
from aitom_disca.subtomograms.preprocess import normalise

BOX, VOXEL_SIZE = 16, 20.0


@pytest.fixture(scope="module")
def simulated():
    """Two structures of random contrast and brightness."""
    phantoms = load_phantoms()
    templates = [phantoms[name] for name in ("rod", "ring")]
    return simulate_subtomograms(
        templates, 60, BOX, VOXEL_SIZE, snr=0.3, seed=2, gain_spread=0.3, offset_spread=0.5
    )


def places(n, rng, names=("a",)) -> ParticleSet:
    """Particles all over tomograms of one size."""
    info = {str(m): TomogramInfo(str(m), VOXEL_SIZE, (60, 100, 110)) for m in names}
    center = rng.uniform((8, 8, 8), (52, 92, 102), (n, 3))
    return ParticleSet(rng.choice(names, n), center, tomograms=info)


def of(found, cluster, name):
    return next(f for f in found.findings if f.cluster == cluster and f.property == name)


# -- effect sizes ------------------------------------------------------------------------------


def test_effects_of_numbers_are_those_of_the_rank_tests(rng):
    values = np.round(rng.normal(size=90), 1)  # with ties
    labels = rng.integers(0, 3, 90)
    values[labels == 1] += 0.7
    found = associate_numbers(values, labels)
    for k in range(3):
        test = mannwhitneyu(
            values[labels == k], values[labels != k], method="asymptotic", use_continuity=False
        )
        pairs = np.sign(np.subtract.outer(values[labels == k], values[labels != k]))
        np.testing.assert_allclose(found.effect[k], pairs.mean(), atol=1e-12)
        np.testing.assert_allclose(found.p[k], test.pvalue, rtol=1e-9)
    test = kruskal(*(values[labels == k] for k in range(3)))
    np.testing.assert_allclose(found.overall, (test.statistic - 2) / (90 - 3), rtol=1e-9)
    np.testing.assert_allclose(found.overall_p, test.pvalue, rtol=1e-9)


def test_effects_of_names_are_cramers_v(rng):
    table = np.array([[30, 5], [4, 21], [10, 10]])
    v, p = cramers_v(table)
    np.testing.assert_allclose(p, chi2_contingency(table, correction=False).pvalue, rtol=1e-9)
    assert 0.4 < v < 0.7
    labels = np.repeat(np.arange(3), table.sum(axis=1))
    names = np.concatenate([np.repeat(["a", "b"], row) for row in table])
    assert associate_names(names, labels).overall == pytest.approx(v)
    assert cramers_v(np.array([[20, 0], [0, 20]]))[0] > 0.95
    chance = [cramers_v(rng.multinomial(60, [1 / 6] * 6).reshape(2, 3))[0] for _ in range(50)]
    assert np.mean(chance) < 0.1  # 0.17 without the correction for bias


def test_holm_guards_for_many_tests():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, 0.06, 0.06, 0.02])


# -- what is measured --------------------------------------------------------------------------


def test_intensities_before_normalisation_come_back_from_the_store(tmp_path, rng):
    phantoms = load_phantoms()
    tomogram = simulate_tomogram([phantoms["rod"]], 6, (40, 60, 70), VOXEL_SIZE, snr=1.0, seed=1)
    write_volume(tmp_path / "t.mrc", 3 * tomogram.volume + 7, VOXEL_SIZE, tilt_range_deg=(-60, 60))
    opened = open_tomogram(tmp_path / "t.mrc")
    center = rng.integers(12, 28, (5, 3))
    particles = ParticleSet(np.full(5, opened.name), center.astype(float))
    extract_subtomograms([opened], particles, tmp_path / "s.h5", ExtractSettings(box_px=BOX))
    boxes = np.stack([opened.read(tuple(slice(c - 8, c + 8) for c in row)) for row in center])
    with open_store(tmp_path / "s.h5") as store:
        np.testing.assert_allclose(store.raw_mean, boxes.mean(axis=(1, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(store.raw_std, boxes.std(axis=(1, 2, 3)), rtol=1e-5)
        from_store = {p.name: p.values for p in measure_properties(store)}
    from_boxes = {p.name: p.values for p in measure_properties(ArraySource(boxes))}
    for name in ("mean intensity", "standard deviation", "background mean", "background deviation"):
        np.testing.assert_allclose(from_store[name], from_boxes[name], rtol=1e-4)


def test_a_store_without_intensities_is_measured_by_what_is_left(simulated):
    names = [p.name for p in measure_properties(ArraySource(normalise(simulated.volumes)))]
    assert names[:2] == ["centre less rim", "slow variation"]
    assert "mean intensity" not in names


def test_main_axes_of_ellipsoids_are_found_whatever_the_wedge_adds(rng):
    rotations = Rotation.random(200, random_state=4)
    axes = rotations.as_matrix()[:, :, 0]  # z, y, x
    mass = rng.uniform(1, 3, 200)
    tensors = mass[:, None, None] * (np.eye(3) + np.einsum("ni,nj->nij", axes, axes))
    tensors[:, 0, 0] += 2.5 * mass  # all longer along the beam
    pairs = [(0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1)]
    moments = np.column_stack([mass, *(tensors[:, i, j] for i, j in pairs)])
    cosine = np.abs((main_axes_zyx(moments) * axes).sum(axis=1))
    assert np.median(cosine) > 0.95


def test_reading_is_in_batches(simulated, monkeypatch):
    from aitom_disca.analysis import properties

    sizes = []

    class Counting(ArraySource):
        def read(self, rows):
            sizes.append(len(rows))
            return super().read(rows)

    whole = measure_properties(ArraySource(simulated.volumes))
    monkeypatch.setattr(properties, "_BATCH_VOXELS", 7 * BOX**3)
    pieces = measure_properties(Counting(simulated.volumes))
    assert max(sizes) == 7 and sum(sizes) == len(simulated.volumes)
    for a, b in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(a.values, b.values, rtol=1e-4, atol=1e-4)


# -- the audit ---------------------------------------------------------------------------------


def test_true_clusters_raise_no_warning(simulated, rng):
    found = audit(ArraySource(simulated.volumes), simulated.labels, places(120, rng))
    assert found.warnings == ()
    assert {f.property for f in found.findings} >= {
        "mean intensity", "standard deviation", "height", "distance to border", "angle to beam",
    }  # fmt: skip


def test_clusters_of_brightness_are_named(simulated):
    mean = simulated.volumes.mean(axis=(1, 2, 3))
    labels = (mean > np.quantile(mean, 0.7)).astype(int)
    found = audit(ArraySource(simulated.volumes), labels)
    assert of(found, 1, "mean intensity").tells == 1.0
    assert of(found, 1, "mean intensity").effect == 1.0
    (second,) = [w for w in found.warnings if w.startswith("Cluster 2 is explained by contrast")]
    assert "mean intensity alone tells it from the rest with 100 %" in second


def test_a_heavier_structure_is_a_note_and_no_warning(tmp_path):
    phantoms = load_phantoms()
    names = ("rod", "chaperone")
    tomogram = simulate_tomogram(
        [phantoms[n] for n in names], 50, (60, 130, 130), VOXEL_SIZE, 0.5, seed=0, gap_px=3,
        border_px=6,
    )  # fmt: skip
    write_volume(tmp_path / "t.mrc", tomogram.volume, VOXEL_SIZE, tilt_range_deg=(-60, 60))
    opened = open_tomogram(tmp_path / "t.mrc", name="simulated")
    extract_subtomograms([opened], tomogram.truth, tmp_path / "s.h5", ExtractSettings(box_px=BOX))
    with open_store(tmp_path / "s.h5") as store:
        assert len(store) == 50
        found = audit(store, tomogram.truth.cluster)
    assert of(found, 0, "mean intensity").large
    assert found.warnings == ()
    (note,) = found.notes
    assert "heavier" in note and "mean intensity" in note


def test_clusters_of_a_place_or_a_tomogram_are_named(simulated, rng):
    particles = places(120, rng, names=("a", "b"))
    source = ArraySource(simulated.volumes)
    height = particles.center_zyx_px[:, 0]
    found = audit(source, (height > 30).astype(int), particles)
    assert any("position (height alone" in w for w in found.warnings)
    np.testing.assert_allclose(
        of(found, 1, "height").median,
        0.1 * VOXEL_SIZE * (np.median(height[height > 30]) - 29.5),
    )
    found = audit(source, (particles.tomogram_name == "b").astype(int), particles)
    assert any("goes with the tomogram" in w for w in found.warnings)
    assert of(found, 0, "tomogram").effect > 0.9


def test_grey_values_of_tomograms_are_not_compared_with_each_other(simulated, rng):
    particles = places(120, rng, names=("a", "b"))
    brighter = simulated.volumes + 50 * (particles.tomogram_name == "b")[:, None, None, None]
    labels = (particles.tomogram_name == "b").astype(int)
    found = audit(ArraySource(brighter), labels, particles)
    assert abs(of(found, 0, "mean intensity").effect) < 0.3
    assert not any("contrast" in w for w in found.warnings)


def test_views_of_one_structure_are_named():
    rod = load_phantoms()["rod"]
    made = simulate_subtomograms([rod], 120, BOX, VOXEL_SIZE, snr=1.0, seed=3)
    along = np.abs(made.rotations.as_matrix()[:, 2, 2])  # of its axis and the beam
    found = audit(ArraySource(made.volumes), (along > 0.6).astype(int))
    assert any("direction" in w for w in found.warnings)
    by_chance = audit(ArraySource(made.volumes), np.arange(120) % 2)
    assert by_chance.warnings == ()


def test_none_of_the_above_takes_no_part_and_one_cluster_is_no_question(simulated):
    source = ArraySource(simulated.volumes)
    labels = simulated.labels.copy()
    labels[::3] = -1
    found = audit(source, labels)
    assert of(found, 0, "mean intensity").members == np.count_nonzero(labels == 0)
    assert of(found, None, "mean intensity").members == np.count_nonzero(labels >= 0)
    assert audit(source, np.where(labels > 0, -1, labels)).findings == ()


def test_rows_count_clusters_from_1(simulated):
    rows = [f.row() for f in audit(ArraySource(simulated.volumes), simulated.labels).findings]
    assert [row["cluster"] for row in rows if row["property"] == "mean intensity"] == ["all", 1, 2]


def test_a_store_keeps_raw_columns_only_where_they_are_given(tmp_path, rng):
    volumes = rng.normal(size=(3, 6, 6, 6)).astype(np.float32)
    particles = ParticleSet(np.full(3, "t"), np.zeros((3, 3)))
    for name, raw in (("with", {"raw_mean": np.arange(3.0), "raw_std": np.ones(3)}), ("not", {})):
        with StoreWriter.create(tmp_path / name, (6,) * 3, 10.0, (-60, 60)) as writer:
            writer.append(volumes, particles, **raw)
    with open_store(tmp_path / "with") as store:
        np.testing.assert_array_equal(store.raw_mean, [0, 1, 2])
    with open_store(tmp_path / "not") as store:
        assert store.raw_mean is None and store.raw_std is None
