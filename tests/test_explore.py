"""The page of results without a browser: who may look, what a click writes, what is refused."""

from __future__ import annotations

import base64
import shlex
import shutil
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from small_results import make_results

from aitom_disca.cli.app import main
from aitom_disca.curation import Decision
from aitom_disca.curation.suggestions import Suggestion
from aitom_disca.errors import InputError
from aitom_disca.io import read_labels_csv
from aitom_disca.pipeline import split_cluster
from aitom_disca.pipeline.suggest import Suggestions

pytest.importorskip("dash", reason="dash is not installed: pip install '.[explore]'")
from aitom_disca.explore import deciding, feature_map, member_images, selected_particles
from aitom_disca.explore import server as serving
from aitom_disca.explore import tomogram_page as tomogram_view
from aitom_disca.explore.app import create_app
from aitom_disca.explore.command_lines import command_of, export_command
from aitom_disca.explore.results import Results
from aitom_disca.explore.suggestion_cache import Suggested
from aitom_disca.explore.tomogram_slices import diameters_px


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results that no test changes."""
    return make_results(tmp_path_factory.mktemp("explore") / "results").path


def do(command: str, results: Path, instead: Path) -> None:
    """Give a command to the program, for a copy of the results."""
    words = shlex.split(command.replace(str(results), str(instead)))
    assert words[0] == "aitom-disca" and main(words[1:]) == 0


def star_files(results: Path) -> dict[str, bytes]:
    paths = [*results.glob("*.star"), *results.glob("*/*.star"), results / "labels.csv"]
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in paths}


def test_printed_commands_write_what_clicks_wrote(kept: Path, tmp_path: Path) -> None:
    clicked, typed = tmp_path / "clicked", tmp_path / "typed"
    shutil.copytree(kept, clicked)
    shutil.copytree(kept, typed)
    results = Results(clicked)
    decisions = [
        Decision("merge", (1, 3)),
        Decision("name", (1,), name="a = $b"),
        Decision("junk", (2,), name="gold"),
        Decision("move", (4,), (57, 58)),
        Decision("move", (), (0,), why="two of them, it seems"),
        Decision("drop", (4,)),
        Decision("undo"),
    ]
    for decision in decisions:
        results.decide(decision)
        do(command_of(clicked, decision), clicked, typed)
    assert results.stars_are_old
    assert results.write_stars("5") == f"3 star files and 2 of junk written to {clicked}"
    assert not results.stars_are_old
    do(export_command(clicked / "subtomograms.h5", clicked, "5"), clicked, typed)
    assert star_files(clicked) == star_files(typed)
    assert "junk/curated_gold.star" in star_files(clicked)


def test_thousands_of_moved_particles_have_a_command_that_fits(kept: Path) -> None:
    many = Decision("move", (), tuple(range(40_000)))
    assert command_of(kept, many).startswith("aitom-disca curate OTHER_RESULTS --replay")


def test_only_the_token_opens_the_page(kept: Path) -> None:
    client = create_app(Results(kept), "secret", 8050).server.test_client()
    for path in ("/", "/?token=wrong", "/slices/1.png", "/_dash-layout"):
        assert client.get(path).status_code == 403, path
    answer = client.get("/?token=secret")
    assert answer.status_code == 302 and answer.location == "/"
    cookie = answer.headers["Set-Cookie"]
    assert "aitom_disca_8050=secret" in cookie and "HttpOnly" in cookie and "Strict" in cookie
    assert client.get("/").status_code == 200
    assert client.get("/slices/1.png").data.startswith(b"\x89PNG")
    n_corners, n_faces = np.frombuffer(client.get("/surface/1").data[:8], "<u4")
    assert len(client.get("/surface/1").data) == 8 + 12 * n_faces + 9 * n_corners
    assert client.get("/surface/9").status_code == 404
    page = client.get("/").text
    assert "//" not in page.replace("</", "").replace("//# ", ""), "nothing comes from the network"


def test_what_another_process_decides_is_seen(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path / "results")
    results = Results(tmp_path / "results")
    assert main(["curate", str(tmp_path / "results"), "--drop", "2"]) == 0
    results.refresh()
    assert results.clusters() == [1, 3, 4] and len(results.decisions) == 1
    with pytest.raises(InputError, match="decision 1 left it out"):
        results.decide(Decision("drop", (2,)))
    assert len(read_labels_csv(results.files.labels)[0]) == len(results.labels)


def test_what_cannot_be_served_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["explore", str(tmp_path)]) == 2
    assert "holds no labels.csv" in capsys.readouterr().err
    (make_results(tmp_path / "other", 12).path / "labels.csv").write_text("index,cluster\n0,1\n")
    assert main(["explore", str(tmp_path / "other")]) == 2
    assert "expected labels of the 12 subtomograms" in capsys.readouterr().err
    with serving.socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="choose another with --port"):
            serving.check_free("127.0.0.1", taken.getsockname()[1])
    monkeypatch.setattr("aitom_disca.cli.explore.find_spec", lambda name: None)
    assert main(["explore", str(tmp_path)]) == 2
    assert "pip install 'aitom-disca[explore]'" in capsys.readouterr().err


def test_the_opening_says_address_and_tunnel() -> None:
    lines = " ".join(serving.opening("secret", "127.0.0.1", 8060))
    assert "http://127.0.0.1:8060/?token=secret" in lines
    assert "ssh -N -L 8060:127.0.0.1:8060" in lines and "other machines can" not in lines
    assert "other machines can connect" in " ".join(serving.opening("t", "0.0.0.0", 1))


def test_a_lasso_takes_what_lies_in_it_and_a_box_too() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-2, 2, (2, 500))
    corners = {"x": [-1, 1, 1, 0, -1], "y": [-1, -1, 1, 0, 1]}  # a square with a notch
    plain = [abs(a) < 1 and -1 < b < abs(a) for a, b in zip(x, y, strict=True)]
    np.testing.assert_array_equal(selected_particles.inside(corners, x, y), plain)
    box = selected_particles.inside({"x": [1, 0], "y": [-1, 1]}, x, y)
    np.testing.assert_array_equal(box, (x >= 0) & (x <= 1) & (abs(y) <= 1))


def test_of_many_particles_some_are_drawn_and_a_lasso_takes_all(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_map, "_MOST_DRAWN", 10)
    rows = feature_map.drawn_rows(60)
    assert len(set(rows)) == 10 and (np.diff(rows) > 0).all()
    results = Results(kept)
    for by in feature_map._choices(results):
        trace = feature_map.figure_of(results, by, "component 1", "component 3")["data"][0]
        assert len(base64.b64decode(trace["marker"]["color"]["bdata"])) == 40, by
    everything = {"x": [-99, 99], "y": [-99, 99]}
    inside = selected_particles.inside(everything, *results.embedding[:, :2].T)
    assert "60 selected" in selected_particles.select(results, np.flatnonzero(inside))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_shows_the_voxels_of_the_file_and_the_particles_near_it(
    kept: Path, axis: int
) -> None:
    results = Results(kept)
    tomogram = results.tomograms["TS_1"]
    client = create_app(results, "secret", 8050).server.test_client()
    client.get("/?token=secret")
    answer = client.get(f"/slice/0/{axis}/12.png?low=0&high=100")
    picture = np.asarray(Image.open(BytesIO(answer.data)))[::-1, :, 0].astype(float)
    up, across = (n for i, n in enumerate(tomogram.shape_zyx) if i != axis)
    assert picture.shape == (up, across)
    half = int(200 / 10 / 3 / 2)  # a third of the diameter that is taken where none is known
    part = [slice(None)] * 3
    part[axis] = slice(12 - half, 13 + half)
    plain = tomogram.read()[tuple(part)].mean(axis=axis)
    assert np.corrcoef(gaussian_filter(plain, 0.8).ravel(), picture.ravel())[0, 1] > 0.98
    near = tomogram_view.rows_near(results, "TS_1", axis, 12)
    apart = abs(results.particles.center_zyx_px[:, axis] - 12)
    assert len(near) and set(near) == set(np.flatnonzero(apart <= 10))
    assert client.get(f"/slice/0/{axis}/999.png").status_code == 404


def test_the_wall_begins_with_the_best_or_the_worst(kept: Path) -> None:
    results = Results(kept)
    best, worst = (member_images.ordered(results, 2, order) for order in ("best", "worst"))
    assert results.posterior is not None and set(best) == set(results.members(2))
    assert (np.diff(results.posterior[best]) <= 0).all() and (best[::-1] == worst).all()
    assert [one["value"] for one in member_images.tiles(results, best[:3])] == best[:3].tolist()
    results.selected = np.array([5, 9])
    assert set(member_images.ordered(results, -1, "store")) == {5, 9}


def test_labels_made_anew_are_said_on_the_page(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path / "results")
    results = Results(tmp_path / "results")
    results.decide(Decision("drop", (2,)))
    shutil.copy(kept / "labels.csv", tmp_path / "results" / "labels.csv")
    with (tmp_path / "results" / "labels.csv").open("a") as file:
        file.write("60,1,1\n")
    client = create_app(results, "secret", 8050).server.test_client()
    client.get("/?token=secret")
    assert "was made anew since curation.json" in client.get("/_dash-layout").text


# -- what takes long -------------------------------------------------------------------------


@pytest.fixture
def let_go(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Sorting again ends when this is set, with the even and the odd members."""
    event = threading.Event()

    def sort(_: object, rows: np.ndarray, *__: object) -> np.ndarray:
        assert event.wait(30)
        return np.arange(len(rows)) % 2

    monkeypatch.setattr(split_cluster, "sorted_again", sort)
    monkeypatch.setattr(split_cluster, "FEWEST_TO_SPLIT", 4)
    yield event
    event.set()


def done(results: Results) -> object:
    """What came of the work beside the page."""
    end = time.monotonic() + 30
    while results.background.now():
        assert time.monotonic() < end
        time.sleep(0.01)
    return results.background.outcome


def test_a_cluster_is_split_beside_the_page_one_at_a_time(
    kept: Path, tmp_path: Path, let_go: threading.Event
) -> None:
    clicked, typed = (Path(shutil.copytree(kept, tmp_path / name)) for name in ("clicked", "typed"))
    results = Results(clicked)
    _, disabled, work = deciding.split(results, (1,), "two shapes")
    assert disabled is False and work.startswith("sorting the members of cluster 1 again (")
    refused, *_ = deciding.split(results, (2,), "")
    assert "still sorting the members of cluster 1 again" in refused.children
    results.decide(Decision("name", (1,), name="both"))  # meanwhile
    let_go.set()
    assert "Done: split 1 (seed 0); its parts are 1 and 5." in str(done(results))
    assert results.clusters() == [1, 2, 3, 4, 5]
    assert results.decisions[1].why == "two shapes"
    for decision in results.decisions:
        do(command_of(clicked, decision), clicked, typed)
    assert (typed / "labels.csv").read_bytes() == (clicked / "labels.csv").read_bytes()


def test_a_split_that_does_not_fit_any_more_writes_nothing(
    kept: Path, tmp_path: Path, let_go: threading.Event
) -> None:
    results = Results(Path(shutil.copytree(kept, tmp_path / "results")))
    deciding.split(results, (1,), None)
    results.decide(Decision("move", (2,), tuple(results.members(1)[:1].tolist())))
    let_go.set()
    assert "other members than when it was split" in str(done(results))
    assert len(results.decisions) == 1 and results.clusters() == [1, 2, 3, 4]
    assert "tick one cluster to split, not 2" in str(deciding.split(results, (1, 2), None)).lower()


def test_an_error_beside_the_page_is_kept_and_the_next_work_begins(kept: Path) -> None:
    results = Results(kept)
    results.background.start("failing", lambda: 1 / 0)
    assert isinstance(done(results), ZeroDivisionError)
    results.background.start("working", lambda: "well")
    assert done(results) == "well"


def test_suggestions_hold_while_their_clusters_stay(kept: Path, tmp_path: Path) -> None:
    results = Results(Path(shutil.copytree(kept, tmp_path / "results")))
    made = [
        Suggestion("merge", (1, 3), "alike"),
        Suggestion("drop", (2,), "noise"),
        Suggestion("name", (4,), "likest to rod", name="rod"),
    ]
    suggested = Suggested(Suggestions(made, []), results.labels)

    def holding() -> list[int]:
        return [n for n, _ in suggested.holding(results.labels, results.curated.names)]

    assert holding() == [0, 1, 2]
    results.decide(Decision("move", (), (int(results.members(3)[0]),)))
    assert holding() == [1, 2]
    results.decide(Decision("undo"))
    results.decide(Decision("name", (1,), name="rod"))
    assert holding() == [0, 1]
    results.decide(Decision("drop", (2,)))
    assert holding() == [0]


@pytest.mark.parametrize(("label", "corners"), [(0, 32), (10, 4), (20, 4), (30, 3), (-1, 32)])
def test_outlines_are_as_large_as_the_particles(label: int, corners: int) -> None:
    x, y, diameter = np.array([[10.0, 30.0], [5.0, 7.0], [4.0, 9.0]])
    labels = np.array([label, label])
    (trace,) = tomogram_view._outlines(x, y, diameter, labels)
    at = [np.frombuffer(base64.b64decode(trace[k]["bdata"]), "<f4").reshape(2, -1) for k in "xy"]
    outline = np.stack([at[0] - x[:, None], at[1] - y[:, None]])
    assert np.isnan(outline[..., -1]).all() and outline.shape[-1] == corners + 2
    sides = (outline[..., :-2] + outline[..., 1:-1]) / 2
    touching = np.broadcast_to(diameter[:, None] / 2, (2, corners))
    np.testing.assert_allclose(np.hypot(*sides), touching, rtol=1e-4)


def test_particles_are_as_large_as_they_were_picked(kept: Path) -> None:
    results = Results(kept)
    tomogram, rows = results.tomograms["TS_1"], np.array([2, 0, 1])
    np.testing.assert_array_equal(diameters_px(results, tomogram, rows), 20)  # 200 Å, not known
    picked = np.array([150.0, np.nan, 300.0])
    results.__dict__["store"] = SimpleNamespace(diameter_angstrom=picked)
    np.testing.assert_array_equal(diameters_px(results, tomogram, rows), [30, 15, 20])
