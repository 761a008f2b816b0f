"""The subtomogram store: written in pieces, read in any order."""

from __future__ import annotations

import pickle
from pathlib import Path
from threading import Thread

import h5py
import numpy as np
import pytest
from h5py._objects import phil
from hypothesis import given, settings
from hypothesis import strategies as st

from aitom_disca.errors import InputError
from aitom_disca.io import StoreWriter, open_store
from aitom_disca.io.disk import hdf5_heaps
from aitom_disca.io.stores import store_layout
from aitom_disca.io.stores.read_store import _runs
from aitom_disca.io.stores.shards import write_index
from aitom_disca.particles import ParticleSet, TomogramInfo

BOX = (4, 7, 5)
N = 150
TOMOGRAMS = {
    "TS_01": TomogramInfo(
        "TS_01", 13.48, (40, 91, 60), (-51, 60), Path("/data/TS_01.mrc"), 1.685, (320, 728, 480)
    ),
    "007": TomogramInfo("007", 13.48),
}


@pytest.fixture(scope="module")
def volumes():
    return np.random.default_rng(0).normal(size=(N, *BOX)).astype(np.float32)


@pytest.fixture(scope="module")
def particles():
    rng = np.random.default_rng(1)
    return ParticleSet(
        np.where(np.arange(N) % 3, "TS_01", "007"),
        rng.uniform(0, 100, (N, 3)),
        score=rng.normal(size=N),
        euler_zyz_deg=rng.uniform(-180, 180, (N, 3)),
        tomograms=TOMOGRAMS,
    )


def new_store(path, **options):
    return StoreWriter.create(path, BOX, 13.48, (-51, 60), TOMOGRAMS, "mean 0", "tests", **options)


@pytest.fixture(scope="module")
def path(tmp_path_factory, volumes, particles):
    path = tmp_path_factory.mktemp("store") / "subtomograms.h5"
    with new_store(path) as store:
        for rows in (slice(0, 0), slice(0, 1), slice(1, 90), slice(90, N)):
            rows = np.arange(N)[rows]
            store.append(volumes[rows], particles.select(rows))
        assert not path.exists()
    return path


def test_a_store_is_sent_as_its_path(path, volumes, particles, monkeypatch):
    monkeypatch.chdir(path.parent)
    with open_store(path.name) as store:
        store.tilt_range_deg  # noqa: B018  kept once it is known
        sent = pickle.dumps(store)
    assert len(sent) < 2000 and store.path == Path(path.name)
    monkeypatch.chdir("/")
    store = pickle.loads(sent)
    assert len(store) == N and store.box_shape_zyx == BOX
    assert "_file" not in vars(store)
    np.testing.assert_array_equal(store.read([3, 1]), volumes[[3, 1]])
    assert "_file" in vars(store) and store.tilt_range_deg == (-51, 60)
    assert store.particles().tomograms == TOMOGRAMS
    store.close()


def test_everything_comes_back(path, volumes, particles):
    with open_store(path) as store:
        assert len(store) == N
        assert store.box_shape_zyx == BOX
        assert store.voxel_size_angstrom == 13.48
        assert store.tilt_range_deg == (-51, 60)
        assert store.labels is None
        np.testing.assert_array_equal(store.read(), volumes)
        read = store.particles()
    np.testing.assert_array_equal(read.tomogram_name, particles.tomogram_name)
    for column in ("center_zyx_px", "score", "euler_zyz_deg"):
        np.testing.assert_array_equal(getattr(read, column), getattr(particles, column))
    assert read.tomograms == TOMOGRAMS


def test_layout_of_the_file(path):
    with h5py.File(path) as file:
        assert file["subtomograms"].chunks == (1, *BOX)
        assert file["subtomograms"].dtype == np.float32
        attributes = dict(file.attrs)
    assert attributes["axis_order"] == "zyx"
    assert (attributes["tilt_axis"], attributes["beam_axis"]) == ("y", "z")
    assert attributes["box_px"].tolist() == list(BOX)
    assert (attributes["normalisation"], attributes["source"]) == ("mean 0", "tests")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-N, N - 1), max_size=40))
def test_rows_in_any_order(path, volumes, rows):
    rows = np.array(rows, int)
    with open_store(path) as store:
        read = store.read(rows)
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, volumes[rows])


@pytest.mark.parametrize(
    "rows",
    [
        slice(3, 120, 7),
        slice(None, None, -1),
        np.arange(N)[::-1],
        np.arange(N) % 4 == 1,
        [5, 5, 2],
        np.random.default_rng(3).permutation(N),
    ],
)
def test_slices_masks_and_shuffles(path, volumes, rows):
    with open_store(path) as store:
        np.testing.assert_array_equal(store.read(rows), volumes[rows])


def test_row_beyond_the_end(path):
    with open_store(path) as store, pytest.raises(IndexError):
        store.read([N])


def test_batches(path, volumes):
    with open_store(path) as store:
        batches = list(store.iter_batches(64))
    assert [len(batch) for batch in batches] == [64, 64, 22]
    np.testing.assert_array_equal(np.concatenate(batches), volumes)


def test_one_request_never_reads_much():
    runs = list(_runs(np.array([0, 1, 2, 9, 9, *range(20, 220)])))
    assert max(run.stop - run.start for run in runs) <= 64
    assert [i for run in runs for i in range(run.start, run.stop)] == list(range(205))
    assert runs[:3] == [slice(0, 3), slice(3, 4), slice(4, 5)]
    assert not list(_runs(np.array([], int)))


def test_labels_and_centred_positions(tmp_path, volumes):
    name = np.full(3, "t")
    unknown = np.full((3, 3), np.nan)
    centered = np.arange(9.0).reshape(3, 3)
    with new_store(tmp_path / "a.h5") as store:
        store.append(
            volumes[:3],
            ParticleSet(name, unknown, centered_xyz_angstrom=centered),
            labels=np.array([2, 0, 1]),
        )
    with open_store(tmp_path / "a.h5") as store:
        assert store.labels.tolist() == [2, 0, 1]
        read = store.particles()
    np.testing.assert_array_equal(read.centered_xyz_angstrom, centered)
    assert read.score is None
    assert not read.has_positions


def test_failure_leaves_the_old_store(tmp_path, volumes, particles):
    path = tmp_path / "a.h5"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), new_store(path, overwrite=True) as store:
        store.append(volumes, particles)
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_overwriting_must_be_asked_for(tmp_path, volumes, particles):
    path = tmp_path / "a.h5"
    path.write_text("old")
    with pytest.raises(InputError, match="is there already"):
        new_store(path)
    with new_store(path, overwrite=True) as store:
        store.append(volumes, particles)
    with open_store(path) as store:
        assert len(store) == N


def test_an_empty_store_is_not_written(tmp_path):
    with pytest.raises(InputError, match=r"no subtomogram was written to a.h5"):
        with new_store(tmp_path / "a.h5"):
            pass
    assert not list(tmp_path.iterdir())


def test_wrong_pieces(tmp_path, volumes, particles):
    few = particles.select(np.arange(2))
    with pytest.raises(ValueError, match="expected 2 volumes of"), new_store(tmp_path / "a") as s:
        s.append(volumes[:3], few)
    with pytest.raises(ValueError, match="expected 2 volumes of"), new_store(tmp_path / "a") as s:
        s.append(volumes[:2, :3], few)
    bare = ParticleSet(few.tomogram_name, few.center_zyx_px)
    with pytest.raises(ValueError, match="columns changed"), new_store(tmp_path / "a") as s:
        s.append(volumes[:2], few)
        s.append(volumes[:2], bare)


def make_file(path, volumes, **attributes):
    with h5py.File(path, "w") as file:
        if volumes is not None:
            file["subtomograms"] = volumes
        file["labels"] = np.zeros(3)
        file.attrs.update(attributes)
    return path


def test_files_that_are_no_store(tmp_path, volumes):
    with pytest.raises(InputError, match="does not exist"):
        open_store(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(InputError, match=r"text.h5 cannot be.*expected a readable HDF5 file"):
        open_store(tmp_path / "text.h5")
    h5py.File(tmp_path / "empty.h5", "w").close()
    with pytest.raises(InputError, match=r"no dataset 'subtomograms' \(found: nothing\)"):
        open_store(tmp_path / "empty.h5")
    with pytest.raises(InputError, match=r"found: labels"):
        open_store(make_file(tmp_path / "a.h5", None))
    with pytest.raises(InputError, match=r"has shape \(150, 4, 7, 5, 1\); expected four axes"):
        open_store(make_file(tmp_path / "b.h5", volumes[..., None]))
    with pytest.raises(InputError, match="holds no subtomograms"):
        open_store(make_file(tmp_path / "c.h5", volumes[:0]))
    for size in ({}, {"voxel_size_angstrom": 0}, {"voxel_size_angstrom": np.nan}):
        with pytest.raises(InputError, match="holds no voxel size; set the file attribute"):
            open_store(make_file(tmp_path / "d.h5", volumes, **size))


def test_damaged_content(tmp_path, volumes, caplog):
    path = make_file(tmp_path / "a.h5", volumes[:4], voxel_size_angstrom=10)
    with open_store(path) as store:
        assert store.tilt_range_deg == (-60, 60)
        assert "a.h5 holds no tilt range" in caplog.text
        with pytest.raises(InputError, match="4 subtomograms but 3 rows of labels"):
            _ = store.labels
    bad = volumes[:4].copy()
    bad[2, 0, 0, 0] = np.nan
    with open_store(make_file(tmp_path / "b.h5", bad, voxel_size_angstrom=10)) as store:
        store.read([3, 1])
        with pytest.raises(InputError, match=r"1 subtomograms .* \(the first is number 2\)"):
            store.read([3, 2])


def test_simulated_benchmark_without_coordinates(tmp_path, volumes, caplog):
    path = tmp_path / "benchmark.h5"
    with h5py.File(path, "w") as file:
        file["subtomograms"], file["labels"] = volumes, np.arange(N) % 5
        file["euler_zyz_deg"], file["shift_voxels"] = np.ones((N, 3)), np.zeros((N, 3))
        file.attrs.update(voxel_size_angstrom=14.0, tilt_range=(-60, 60), class_names=["a", "b"])
    with open_store(path) as store:
        assert store.labels.tolist() == (np.arange(N) % 5).tolist()
        particles = store.particles()
    assert set(particles.tomogram_name) == {"benchmark"}
    assert not particles.has_positions
    assert particles.tomograms["benchmark"].voxel_size_angstrom == 14
    assert not caplog.records


def test_experimental_ribosomes(shared_data):
    with open_store(shared_data / "subtomograms" / "ribosome_24.h5") as store:
        assert (len(store), store.box_shape_zyx) == (24, (32, 32, 32))
        assert store.tilt_range_deg == (-53, 61)
        particles = store.particles()
        volumes = store.read([23, 0])
    assert np.unique(particles.tomogram_name).size == 4
    assert particles.centered_xyz_angstrom[0] == pytest.approx([2390.5364, 1767.78, 333.82693])
    np.testing.assert_allclose(volumes.std(axis=(1, 2, 3)), 1, atol=1e-3)


def test_as_many_files_may_be_open_as_a_store_has_shards(tmp_path, volumes, particles, monkeypatch):
    resource = pytest.importorskip("resource")
    shards = [tmp_path / "s_shards" / f"{i}.h5" for i in range(12)]
    for i, shard in enumerate(shards):
        with new_store(shard) as store:
            store.append(volumes[[i]], particles.select([i]), row=np.array([11 - i]))
    assert write_index(tmp_path / "s.h5", shards) == 12
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    few = max(n_open + 6, 8)
    monkeypatch.setattr(store_layout, "_FILES_OPEN_ELSE", n_open + 20)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
        with open_store(tmp_path / "s.h5") as store:
            np.testing.assert_array_equal(store.read(), volumes[11::-1])
        monkeypatch.setattr(resource, "getrlimit", lambda _: (few, few))
        with pytest.raises(InputError, match=r"12 shards, but only \d+ files may be open"):
            open_store(tmp_path / "s.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_chunks_are_read_behind_the_lock_of_h5py() -> None:
    """HDF5 is not for several threads at once."""
    took: list[bool] = []

    class Column:
        def read_direct_chunk(self, offset: tuple[int, ...]) -> tuple[int, bytes]:
            other = Thread(target=self.try_to_take)
            other.start()
            other.join()
            return 0, bytes(offset)

        def try_to_take(self) -> None:
            took.append(phil.acquire(blocking=False))
            if took[-1]:
                phil.release()

    assert hdf5_heaps._chunk(Column(), (3,)) == b"\3"
    assert took == [False]
