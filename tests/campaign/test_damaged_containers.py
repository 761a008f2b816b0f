"""Damaged containers, thousands of times: refused in one sentence, or read as they were."""

from __future__ import annotations

import gzip
import json
import pickle

import numpy as np
import pytest
from damage import N_CASES, campaign

from aitom_disca.bridge.pickles import read_pickle
from aitom_disca.clustering import GaussianMixtureModel, Projection
from aitom_disca.clustering.outliers import OutlierScorer
from aitom_disca.config import MineSettings
from aitom_disca.io import StoreWriter, open_store, open_tomogram, write_volume
from aitom_disca.io.formats import Known, get_format
from aitom_disca.mining.checkpoint import Checkpoint
from aitom_disca.mining.model_file import Bundle
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.report.collect import _sorted

pytestmark = pytest.mark.campaign
INFO = TomogramInfo("TS_1", 20.0, (40, 60, 60), tilts_deg=(-60.0, 0.0, 60.0))
N = 12


def particles():
    rng = np.random.default_rng(0)
    return ParticleSet(
        np.full(N, "TS_1"),
        rng.uniform(10, 30, (N, 3)),
        rng.normal(size=N),
        euler_zyz_deg=rng.uniform(0, 90, (N, 3)),
        cluster=np.arange(N) % 3,
        posterior=np.full(N, 0.5),
        tomograms={"TS_1": INFO},
        more={"kind": np.array(["a", "b"] * (N // 2)), "visits": np.arange(N)},
    )


def parts(one: ParticleSet) -> list:
    return [*(getattr(one, name) for name in vars(one))]


def test_stores(tmp_path):
    path = tmp_path / "s.h5"
    rng = np.random.default_rng(1)
    with StoreWriter.create(path, (8,) * 3, 20.0, (-60, 60), {"TS_1": INFO}) as writer:
        for _ in range(3):
            volumes = rng.normal(size=(N, 8, 8, 8)).astype(np.float32)
            writer.append(volumes, particles(), raw_mean=np.zeros(N), raw_std=np.ones(N))

    def read():
        with open_store(path) as store:
            known = [store.voxel_size_angstrom, store.tilt_range_deg, store.raw_mean]
            return [*known, *parts(store.particles()), *store.iter_batches(5)]

    found = campaign("subtomogram store", path, read, n=3 * N_CASES)
    assert found["refused"] > N_CASES


def test_checkpoints(tmp_path):
    path = tmp_path / "checkpoint.h5"
    kept = Checkpoint(path, "a")
    arrays = {"labels": np.arange(300), "weights": [np.ones((20, 30)), np.zeros(5)]}
    kept.save("first", arrays, {"rate": 0.1, "rows": [{"k": 3}]})
    kept.save("second", {"x": np.linspace(0, 1, 100)})
    right = [kept.load(name) for name in ("first", "second")]

    def read():
        checkpoint = Checkpoint(path, "a")
        found = [checkpoint.load(name) for name in ("first", "second")]
        # What is lost is done again.
        return [was if now is None else now for was, now in zip(right, found, strict=True)]

    campaign("checkpoint", path, read, n=2 * N_CASES)


def test_models(tmp_path):
    path, rng = tmp_path / "model.h5", np.random.default_rng(2)
    mixture = GaussianMixtureModel(np.ones(2) / 2, rng.normal(size=(2, 3)), np.ones((2, 3, 3)))
    Bundle(
        MineSettings(),
        16,
        20.0,
        [rng.normal(size=(3, 4, 5)).astype(np.float32), np.zeros(7, np.float32)],
        Projection(np.zeros(5), rng.normal(size=(3, 5))),
        mixture,
        1.5,
        OutlierScorer(rng.uniform(size=(2, 10)), np.ones(2)),
    ).save(path)

    def read():
        one = Bundle.load(path)
        inner = (one.projection, one.mixture, one.outliers)
        plain = [one.settings.model_dump(), one.box_px, one.voxel_size_angstrom, one.temperature]
        return [*plain, one.weights, *(list(vars(part).values()) for part in inner)]

    campaign("model.h5", path, read, n=2 * N_CASES)


def test_networks_of_keras(tmp_path):
    pytest.importorskip("keras")
    from aitom_disca.network.gumnet import build_gumnet, load_gumnet, save_gumnet

    path = tmp_path / "g.keras"
    save_gumnet(build_gumnet(16, width=0.01), path)
    n = max(1, N_CASES // 5)
    campaign("Gum-Net (.keras)", path, lambda: load_gumnet(path).get_weights(), n=n)


def test_what_a_sorting_kept(tmp_path):
    path = tmp_path / "clusters.npz"
    history = json.dumps([{"kept": True, "k": 2, "bic": {"2": 1.5}}])
    averages = np.random.default_rng(0).normal(size=(2, 8, 8, 8))
    with open(path, "wb") as file:
        np.savez(file, embedding=np.ones((N, 3)), history=history, averages=averages)
    campaign("clusters.npz", path, lambda: list(_sorted(path, N)), n=2 * N_CASES)


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2"])
def test_tomograms_in_mrc_files(tmp_path, suffix):
    path = tmp_path / f"a.mrc{suffix}"
    volume = np.random.default_rng(0).normal(size=(12, 14, 16))
    write_volume(path, volume, 10.0, tilt_range_deg=(-50, 60))

    def read():
        one = open_tomogram(path)
        return [one.voxel_size_angstrom, one.tilt_range_deg, one.read()]

    campaign(f"MRC file{suffix}", path, read, may_change=not suffix, n=2 * N_CASES)


@pytest.mark.parametrize("version", [2, 3])
def test_tomograms_in_zarr(tmp_path, version):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "a.zarr"
    axes = [{"name": axis, "type": "space", "unit": "angstrom"} for axis in "zyx"]
    scale = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [10.0] * 3}]}
    image = [{"axes": axes, "datasets": [scale], "version": "0.4"}]
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    array = group.create_array("0", shape=(20, 24, 24), chunks=(8, 8, 8), dtype="f4")
    array[...] = np.random.default_rng(0).normal(size=array.shape)
    group.attrs.update({"multiscales": image} if version == 2 else {"ome": {"multiscales": image}})

    def read():
        one = open_tomogram(path, tilt_range_deg=(-60, 60))
        return [one.voxel_size_angstrom, one.read()]

    files = sorted(file for file in path.rglob("*") if file.is_file())
    described = [file for file in files if file.suffix == ".json" or file.name[0] == "."]
    campaign(f"OME-Zarr {version}, chunks", path, read, may_change=True, files=files)
    campaign(
        f"OME-Zarr {version}, metadata", path, read, may_change=True, files=described, text=True
    )


def test_pickles_and_json_of_aitom(tmp_path):
    entries = [{"x": np.arange(3), "val": 0.5, "uuid": "a"}, {"x": [4, 5, 6], "val": 1.5}]
    path = tmp_path / "a.pickle"
    path.write_bytes(pickle.dumps(entries, protocol=2))
    campaign("AITom pickle", path, lambda: read_pickle(path), may_change=True, n=2 * N_CASES)


@pytest.mark.parametrize("name", ["imod", "eman2", "copick", "portal", "pytom", "dynamo", "csv"])
def test_particle_files(tmp_path, name):
    own = get_format(name)
    path = tmp_path / f"TS_1{own.suffixes[0]}"
    known = Known({"TS_1": INFO}, tomogram_name="TS_1", file_pixel_angstrom=20.0)
    (path, *_) = own.write(path, particles(), known)
    read = lambda: parts(own.read(path, known))  # noqa: E731
    campaign(f"{own.title}", path, read, may_change=True, text=name != "imod")


def test_packed_streams_that_end_early(tmp_path):
    """Every length of a packed file, not just some."""
    path = tmp_path / "a.mrc.gz"
    write_volume(path, np.ones((4, 4, 4)), 10.0, tilt_range_deg=(-50, 60))
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match=r"a\.mrc\.gz"):  # an InputError
            open_tomogram(path).read()
    path.write_bytes(whole)
    assert gzip.decompress(whole)
