"""Particles of a file found again in a store; what a store keeps of a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aitom_disca.cli.app import main
from aitom_disca.errors import InputError
from aitom_disca.io import StoreWriter, open_store, write_labels_csv
from aitom_disca.io.formats import Known, get_format
from aitom_disca.io.formats.particles_of_store import labels_of, particles_of_store
from aitom_disca.io.formats.read_particles import read_particles
from aitom_disca.io.formats.relion.subtomogram_images import export_subtomograms
from aitom_disca.io.formats.relion.write_optics import join_optics
from aitom_disca.particles import ParticleSet, TomogramInfo

INFOS = {name: TomogramInfo(name, 10.0, (60, 80, 100)) for name in ("TS_1", "TS_10")}
N = 6


@pytest.fixture
def particles(rng):
    return ParticleSet(
        np.array(["TS_1", "TS_10"] * 3),
        rng.uniform(20, 40, (N, 3)).round(3),
        euler_zyz_deg=rng.uniform(-90, 90, (N, 3)).round(3),
        cluster=np.array([0, 1, 1, -1, 2, 0]),
        posterior=np.linspace(0.5, 1, N),
        tomograms=INFOS,
        more={"rlnRandomSubset": np.array([1, 2] * 3), "rlnGroupName": np.array(list("abcdef"))},
    )


@pytest.fixture
def store(tmp_path, particles, rng):
    volumes = rng.normal(size=(N, 8, 8, 8)).astype(np.float32)
    with StoreWriter.create(tmp_path / "s.h5", (8, 8, 8), 20.0, (-60, 60), INFOS) as writer:
        writer.append(volumes, particles)
    with open_store(tmp_path / "s.h5") as opened:
        yield opened


def test_a_store_keeps_what_came_with_the_particles(store, particles):
    kept = store.particles()
    for column in ("cluster", "posterior", "euler_zyz_deg", "center_zyx_px"):
        np.testing.assert_allclose(getattr(kept, column), getattr(particles, column))
    assert kept.cluster.dtype.kind == "i" and kept.more["rlnRandomSubset"].dtype.kind == "i"
    assert kept.more["rlnGroupName"].tolist() == list("abcdef")


@pytest.mark.parametrize(
    "command",
    [
        "average s.h5 --labels x.txt --out a",
        "refine s.h5 --labels x.txt --out a",
        "export s.h5 --labels x.txt --out a",
        "convert s.h5 a.star --to relion31 --poses x.txt",
        "import-subtomograms x.txt --out a.h5",
        "aitom-export x.txt --out a.json --to peaks",
    ],
)
def test_no_advice_of_other_options(tmp_path, monkeypatch, store, capsys, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("no particles")
    assert main(command.split()) == 2
    said = capsys.readouterr().err
    assert "x.txt is of no particle format" in said and "--from" not in said


@pytest.mark.parametrize("images", [[], ["--images"]])
def test_relion5_needs_positions(tmp_path, monkeypatch, rng, capsys, images):
    monkeypatch.chdir(tmp_path)
    nowhere = ParticleSet(np.array(["a", "b"]), np.full((2, 3), np.nan))
    with StoreWriter.create("n.h5", (8, 8, 8), 10.0, (-60, 60), {}) as writer:
        writer.append(rng.normal(size=(2, 8, 8, 8)).astype(np.float32), nowhere)
    sizes = "--size-zyx 60 80 100 --voxel-size-angstrom 10 --binning 2".split()
    assert main(["convert", "n.h5", "n.star", "--to", "relion5", *sizes, *images]) == 2
    said = capsys.readouterr().err
    assert "RELION 5 star needs positions" in said and "size" not in said


ORDER = np.array([4, 0, 3, 1])


@pytest.mark.parametrize("by", ["place", "image", "fraction"])
def test_rows_in_any_order(tmp_path, monkeypatch, store, particles, by):
    monkeypatch.chdir(tmp_path)
    if by == "image":
        export_subtomograms(store, tmp_path / "o", particles, "all.star")
        written = get_format("relion31").read(tmp_path / "all.star", Known()).select(ORDER)
    else:
        written = particles.select(ORDER)
        if by == "fraction":  # cut where RELION cuts a coordinate with a fraction
            written = replace(written, box_center_zyx_px=np.floor(written.center_zyx_px))
    get_format("relion31").write(tmp_path / "a.star", written, Known())
    found, rows = particles_of_store(store, "a.star")
    assert rows.tolist() == ORDER.tolist()
    np.testing.assert_allclose(found.center_zyx_px, particles.center_zyx_px[ORDER], atol=1e-5)
    cluster, posterior = labels_of(store, "a.star")
    expected = np.full(N, -1)
    expected[ORDER] = particles.cluster[ORDER]
    assert cluster.tolist() == expected.tolist()
    np.testing.assert_allclose(posterior[ORDER], particles.posterior[ORDER], atol=1e-6)


def test_in_order_where_boxes_were_centred_again(tmp_path, store, particles):
    moved = replace(particles, center_zyx_px=particles.center_zyx_px + 3)
    get_format("relion31").write(tmp_path / "a.star", moved, Known())
    assert particles_of_store(store, tmp_path / "a.star")[1].tolist() == list(range(N))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: replace(p, center_zyx_px=p.center_zyx_px + 12), "neither their images nor"),
        (lambda p: p.select(np.arange(N)[::-1]).select(np.array([0, 0, 1])), "neither their"),
        (lambda p: replace(p, tomogram_name=p.tomogram_name[::-1]), "neither their images nor"),
        (lambda p: replace(p, cluster=None), "no classes"),
    ],
)
def test_labels_of_another_store_are_refused(tmp_path, store, particles, change, said):
    get_format("relion31").write(tmp_path / "a.star", change(particles), Known())
    with pytest.raises(InputError, match=said):
        labels_of(store, tmp_path / "a.star")


def test_labels_as_a_table_and_as_particles_in_one(tmp_path, store, particles):
    write_labels_csv(tmp_path / "labels.csv", particles.cluster)
    get_format("csv").write(tmp_path / "p.csv", particles, Known())
    for name in ("labels.csv", "p.csv"):  # as spreadsheets save them, too
        text = (tmp_path / name).read_text()
        (tmp_path / f"wide_{name}").write_bytes(text.encode("utf-16"))
    for name in ("labels.csv", "p.csv", "wide_labels.csv", "wide_p.csv"):
        assert labels_of(store, tmp_path / name)[0].tolist() == particles.cluster.tolist()
    with pytest.raises(InputError, match="does not exist"):
        labels_of(store, tmp_path / "no.csv")


def test_poses_of_a_file_beside_the_images_of_a_store(tmp_path, store, particles, capsys):
    posed = replace(particles, euler_zyz_deg=particles.euler_zyz_deg + 10).select(ORDER)
    get_format("relion31").write(tmp_path / "poses.star", posed, Known())
    out = tmp_path / "out.star"
    command = ["convert", str(store.path), str(out), "--to", "relion31", "--images"]
    assert main([*command, "--poses", str(tmp_path / "poses.star")]) == 0
    read = read_particles(out)
    np.testing.assert_allclose(read.euler_zyz_deg, posed.euler_zyz_deg, atol=1e-5)
    images = [name.split("/")[-1] for name in read.more["rlnImageName"].tolist()]
    assert images == [f"{row + 1:06d}.mrc" for row in ORDER]
    assert read.cluster.tolist() == particles.cluster[ORDER].tolist()
    command = ["convert", str(out), str(tmp_path / "b.star"), "--to", "relion31"]
    assert main([*command, "--poses", str(out)]) == 2
    assert "--poses goes with the subtomograms of a store" in capsys.readouterr().err


def test_groups_are_told_apart_by_what_they_are(tmp_path, particles):
    sets = []
    for pixel, kv in ((10.0, 300.0), (10.0, 300.0), (5.0, 300.0), (10.0, 200.0)):
        infos = {n: TomogramInfo(n, pixel, voltage_kv=kv) for n in INFOS}
        path = tmp_path / f"{len(sets)}.star"
        get_format("relion31").write(path, replace(particles, tomograms=infos), Known())
        sets.append(read_particles(path))
    joined = join_optics(sets)
    table = joined[0].more_blocks["relion:optics"]
    assert len(table) == 3 and table["rlnOpticsGroupName"].is_unique
    groups = [set(one.more["rlnOpticsGroup"].tolist()) for one in joined]
    assert groups == [{1}, {1}, {2}, {3}]
    same_name = [
        replace(
            one,
            more_blocks={
                "relion:optics": one.more_blocks["relion:optics"].assign(rlnOpticsGroupName="og")
            },
        )
        for one in sets
    ]
    names = join_optics(same_name)[0].more_blocks["relion:optics"]["rlnOpticsGroupName"]
    assert names.tolist() == ["og", "og-2", "og-3"]


@pytest.mark.parametrize("group", [2, "<NA>"])
def test_a_micrograph_of_a_group_without_a_name(tmp_path, monkeypatch, store, capsys, group):
    """Its name would have been cut to one letter."""
    monkeypatch.chdir(tmp_path)
    optics = "data_optics\nloop_\n_rlnOpticsGroup\n_rlnOpticsGroupName\n1 first\n"
    rows = f"TS_1.mrc 1\nTS_10.mrc {group}\n"
    mics = "data_micrographs\nloop_\n_rlnMicrographName\n_rlnOpticsGroup\n"
    command = "convert s.h5 a.star --to relion31 --micrographs mics.star".split()
    (tmp_path / "mics.star").write_text(optics + mics + rows)
    assert main(command) == 2
    assert "no name to the optics group" in capsys.readouterr().err
    (tmp_path / "mics.star").write_text(optics + mics + rows.replace(str(group), "1"))
    assert main(command) == 0
    assert " first" in (tmp_path / "a.star").read_text().replace("\t", " ")


def test_labels_whose_pixel_nobody_knows(tmp_path, rng, capsys):
    """`average` has no option for it."""
    nowhere = ParticleSet(np.full(6, "t"), np.full((6, 3), np.nan))
    with StoreWriter.create(tmp_path / "n.h5", (8,) * 3, 10.0, (-60.0, 60.0)) as writer:
        writer.append(rng.normal(size=(6, 8, 8, 8)).astype(np.float32), nowhere)
    columns = "rlnMicrographName rlnCoordinateX rlnCoordinateY rlnCoordinateZ rlnClassNumber"
    head = "data_\n\nloop_\n" + "".join(f"_{column}\n" for column in columns.split())
    (tmp_path / "x.star").write_text(head + "t 1 2 3 1\n" * 6)
    paths = [str(tmp_path / name) for name in ("n.h5", "x.star", "out")]
    assert main(["average", paths[0], "--labels", paths[1], "--out", paths[2]]) == 2
    said = capsys.readouterr().err
    assert "x.star does not say its pixel size" in said and "--file-pixel" not in said
    assert not (tmp_path / "out").exists()
