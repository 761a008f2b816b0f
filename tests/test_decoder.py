"""Decoded clusters: what the network makes of its own features."""

from __future__ import annotations

import json

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("keras")

from aitom_disca import pipeline
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import apply_wedge
from aitom_disca.io import StoreWriter
from aitom_disca.mining.decoded_centres import find_centers
from aitom_disca.network import build_feature_extractor, extract_features
from aitom_disca.network.decoder import Decoder
from aitom_disca.particles import ParticleSet
from aitom_disca.simulation import load_phantoms, simulate_subtomograms
from aitom_disca.subtomograms.dataset import ArraySource, PreparedVolumes

BOX, VOXEL_ANGSTROM, SNR = 16, 20.0, 0.2
NAMES = ("chaperone", "ring", "rod")


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.fixture(scope="module")
def templates():
    return [load_phantoms()[name] for name in NAMES]


@pytest.fixture(scope="module")
def simulated(templates):
    return simulate_subtomograms(templates, 60, BOX, VOXEL_ANGSTROM, SNR, seed=1)


@pytest.fixture(scope="module")
def decoder(simulated):
    """A decoder of an untrained network's features, the features, and its errors."""
    volumes = PreparedVolumes(ArraySource(simulated.volumes))
    seen = PreparedVolumes(ArraySource(simulated.volumes), box_px=12, low_pass_sigma_px=0.67)
    extractor = build_feature_extractor(12, width=0.5, n_convolutions=5, n_features=128)
    features = extract_features(extractor, seen.batches(60))
    decoder = Decoder(BOX, 128, batch_size=16)
    return decoder, features, decoder.fit(features, volumes, epochs=15)


def test_the_decoder_learns_what_it_was_not_shown(decoder):
    *_, errors = decoder
    assert 1 < len(errors) <= 15
    assert min(errors) < 0.95  # of the variance, of which noise is five sixths
    assert min(errors) < 0.97 * errors[0]


def test_the_pass_of_the_smallest_error_is_kept(decoder, simulated):
    fitted, features, errors = decoder
    held_out = np.arange(0, len(features), 10)
    volumes = PreparedVolumes(ArraySource(simulated.volumes)).read(held_out)
    error = float(((fitted(features[held_out]) - volumes) ** 2).mean())
    assert error == pytest.approx(min(errors), rel=1e-4)


def test_a_decoded_center_is_the_rotational_mean_of_its_own_structure(
    decoder, simulated, templates
):
    fitted, features, _ = decoder
    _, centers, _ = find_centers(features, simulated.labels)
    decoded = fitted(centers)
    rotations = Rotation.random(100, random_state=0)
    means = [
        apply_wedge(np.mean([t.density(BOX, VOXEL_ANGSTROM, r) for r in rotations], 0), (-60, 60))
        for t in templates
    ]
    table = np.array([[correlation(volume, mean) for mean in means] for volume in decoded])
    np.testing.assert_array_equal(table.argmax(axis=1), range(len(templates)))
    assert table.diagonal().min() > 0.6


def test_a_decoded_subtomogram_is_nearer_to_the_truth_than_it_was(decoder, simulated, templates):
    fitted, features, _ = decoder
    clean = simulate_subtomograms(templates, 60, BOX, VOXEL_ANGSTROM, np.inf, seed=1).volumes
    held_out = np.arange(0, len(features), 10)
    decoded = fitted(features[held_out])
    now = [correlation(a, clean[row]) for a, row in zip(decoded, held_out, strict=True)]
    was = [correlation(simulated.volumes[row], clean[row]) for row in held_out]
    assert np.mean(now) > np.mean(was) + 0.05


def test_centers_by_hand():
    features = np.array([[0.0, 0], [2, 0], [1.2, 0], [9, 9], [10, 10], [50, 50]])
    labels = np.array([0, 0, 0, 2, 2, -1])
    clusters, centers, rows = find_centers(features, labels)
    np.testing.assert_array_equal(clusters, [0, 2])
    np.testing.assert_allclose(centers, [[3.2 / 3, 0], [9.5, 9.5]])
    np.testing.assert_array_equal(rows, [2, 3])


# -- the command ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(simulated, tmp_path_factory):
    """The folder of a run, decoded."""
    folder = tmp_path_factory.mktemp("decode")
    with StoreWriter.create(folder / "store.h5", (BOX,) * 3, VOXEL_ANGSTROM, (-60, 60)) as store:
        n = len(simulated.volumes)
        store.append(simulated.volumes, ParticleSet(np.full(n, "t"), np.full((n, 3), 20.0)))
    settings = MineSettings.from_preset(
        "paper", candidate_k=(2,), max_iterations=1, width=0.2, n_convolutions=2, n_features=16
    )
    out = pipeline.mine(folder / "store.h5", folder / "run", settings).path
    return pipeline.decode(out, epochs=2)


def test_decode_writes_center_and_member_of_every_cluster(run, simulated):
    names = [f"cluster_{k:02d}_{what}.mrc" for k in (1, 2) for what in ("center", "member")]
    assert sorted(path.name for path in run.decoded.iterdir()) == names
    for name in names:
        with mrcfile.open(run.decoded / name) as mrc:
            assert mrc.data.shape == (BOX,) * 3 and mrc.data.dtype == np.float32
            assert float(mrc.voxel_size.z) == pytest.approx(VOXEL_ANGSTROM)
    stage = json.loads(run.record_file.read_text())["stages"]["decode"]
    assert stage["clusters"] == [0, 1] and len(stage["members"]) == 2
    assert stage["ms_per_subtomogram"] > 0


def test_the_axes_of_a_decoded_volume_are_those_of_the_store(decoder, simulated):
    fitted, features, _ = decoder
    rods = np.flatnonzero(simulated.labels == NAMES.index("rod"))
    decoded = fitted(features[rods])
    as_stored, *turned = [
        correlation(decoded.transpose(order), simulated.volumes[rods])
        for order in ((0, 1, 2, 3), (0, 3, 2, 1), (0, 2, 1, 3), (0, 1, 3, 2))
    ]
    assert as_stored > max(turned) + 0.05


def test_the_report_shows_what_was_decoded(run):
    html = run.report.read_text()
    member = run.record["stages"]["decode"]["members"][0]
    assert 'id="decoded"' in html
    assert html.count("the centre, decoded") >= 2
    assert f"subtomogram {member}</p>" in html


def test_decoding_again_replaces_what_was_there(run):
    stale = run.decoded / "cluster_09_center.mrc"
    stale.write_bytes(b"of an earlier clustering")
    before = (run.decoded / "cluster_01_center.mrc").read_bytes()
    pipeline.decode(run.path, epochs=2)
    assert not stale.exists()
    after = (run.decoded / "cluster_01_center.mrc").read_bytes()
    assert after[1024:] == before[1024:]  # all but the header, which holds the time


def test_decoding_needs_a_finished_run(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        pipeline.decode(tmp_path)
