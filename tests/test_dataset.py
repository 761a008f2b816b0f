"""Prepared volumes: the same from memory and from disk, whose size costs no memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aitom_disca.errors import InputError
from aitom_disca.io.stores import row_file
from aitom_disca.subtomograms import dataset
from aitom_disca.subtomograms.dataset import ArraySource, PreparedVolumes, shuffled_rows

PEAK = r"""
import json, re, sys
from pathlib import Path
import numpy as np
from aitom_disca.subtomograms import dataset

dataset._LARGEST_IN_MEMORY_BYTES = 2**20

class Endless:
    box_shape_zyx = (16, 16, 16)
    def __init__(self, n):
        self.n = n
    def __len__(self):
        return self.n
    def read(self, rows):
        return np.random.default_rng(len(rows)).standard_normal((len(rows), 16, 16, 16), np.float32)

peaks = []
for n in map(int, sys.argv[1:]):
    volumes = dataset.PreparedVolumes(Endless(n), low_pass_sigma_px=1.0)
    total = sum(float(batch.sum()) for batch in volumes.batches(128))
    volumes.read(np.random.default_rng(0).permutation(len(volumes))[:512])
    peaks.append(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]))
print(json.dumps(peaks))
"""


def made(rng: np.random.Generator, n: int = 37) -> ArraySource:
    return ArraySource(rng.normal(3.0, 2.0, (n, 9, 9, 9)).astype(np.float32))


def test_disk_gives_what_memory_gives(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = made(rng)
    rows = rng.permutation(37)[:30]
    in_memory = PreparedVolumes(source, box_px=7, low_pass_sigma_px=0.7, rows=rows)
    monkeypatch.setattr(dataset, "_LARGEST_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(dataset, "_BATCH_VOXELS", 4 * 9**3)  # several pieces
    on_disk = PreparedVolumes(source, box_px=7, low_pass_sigma_px=0.7, rows=rows)
    assert len(on_disk) == len(in_memory) == 30
    everything = in_memory.read(np.arange(30))
    np.testing.assert_array_equal(np.concatenate(list(on_disk.batches(7))), everything)
    for wanted in ([5], [29, 0, 1, 2, 2, 28], [], [4, 3, 2]):
        asked = np.array(wanted, int)
        np.testing.assert_array_equal(on_disk.read(asked), everything[asked])
    for volumes in (in_memory, on_disk):
        with pytest.raises(IndexError):
            volumes.read(np.array([3, 30]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_peak_memory_does_not_grow_with_their_number() -> None:
    command = [sys.executable, "-c", PEAK, "4000", "8000"]  # 66 and 131 MB of volumes
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    few, many = json.loads(done.stdout)
    assert many < 1.1 * few


def test_a_full_disk_is_said_in_one_sentence(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def write(self, _: object) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset, "_LARGEST_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(row_file.tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(InputError, match=r"No space left on device.*TMPDIR"):
        PreparedVolumes(made(rng))


@pytest.mark.parametrize("n", [0, 1, 63, 300, 1300])
def test_shuffled_rows_are_all_rows_once(n: int) -> None:
    rows = shuffled_rows(n, np.random.default_rng(1), chunk=8)
    np.testing.assert_array_equal(np.sort(rows), np.arange(n))
    again = shuffled_rows(n, np.random.default_rng(1), chunk=8)
    np.testing.assert_array_equal(rows, again)
    if n > 100:
        assert (np.diff(rows) == 1).mean() < 0.05


def test_rows_of_one_chunk_come_soon_after_one_another() -> None:
    n, chunk = 6400, 8
    place = np.empty(n, int)
    place[shuffled_rows(n, np.random.default_rng(2), chunk)] = np.arange(n)
    spread = np.ptp(place.reshape(-1, chunk), axis=1)
    assert spread.max() < 64 * chunk
