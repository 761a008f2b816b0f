"""The page of results in a real browser: what a person clicks is written, and nothing complains."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_results import make_results

from aitom_disca.cli.app import main
from aitom_disca.curation.suggestions import Suggestion
from aitom_disca.io import read_labels_csv, read_particles_star
from aitom_disca.pipeline import split_cluster
from aitom_disca.pipeline.suggest import Suggestions

CHROMIUM = shutil.which("chromium")
NEEDED = {
    "playwright": find_spec("playwright"),
    "dash": find_spec("dash"),
    "chromium (Debian: apt-get install chromium)": CHROMIUM,
}
MISSING = ", ".join(name for name, found in NEEDED.items() if not found)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
]
if not MISSING:
    from playwright import sync_api

    from aitom_disca.explore import suggestion_cache
    from aitom_disca.explore.results import Results
    from aitom_disca.explore.server import listen

_PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return make_results(tmp_path / "results").path


@pytest.fixture
def page(browser: Any, results: Path) -> Iterator[Any]:
    """The page opened, which must not complain while it is used."""
    server = listen(Results(results), "secret", "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(_PATIENCE_MS)
    complaints: list[str] = []
    page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: "127.0.0.1" in r.url or complaints.append(f"asked for {r.url}"))
    page.goto(f"http://127.0.0.1:{server.server_port}/?token=secret")
    page.get_by_label("cluster 4", exact=True).first.wait_for()
    yield page
    page.close()
    server.shutdown()
    server.server_close()
    assert not complaints


def says(page: Any, text: str) -> None:
    sync_api.expect(page.locator("#status")).to_contain_text(text, timeout=_PATIENCE_MS)


def test_from_results_to_merged_named_exported_star_files(page: Any, results: Path) -> None:
    typed = results.parent / "typed"
    shutil.copytree(results, typed)
    for number in (1, 3):
        page.get_by_role("checkbox", name=f"cluster {number}").check()
    page.get_by_placeholder("why (kept").fill("one shape")
    page.get_by_role("button", name="Merge").click()
    says(page, f"aitom-disca curate {results} --merge 1+3 --why 'one shape'")
    assert not page.get_by_placeholder("why (kept").input_value()  # the next has another reason
    # Cards are drawn anew after the decision is said; what is typed before that is gone.
    sync_api.expect(page.get_by_role("article", name="cluster 3")).to_have_count(
        0, timeout=_PATIENCE_MS
    )
    name = page.get_by_label("name of cluster 1")
    name.fill("ribosome")
    name.press("Enter")
    says(page, "--name 1=ribosome")
    page.get_by_role("article", name="cluster 4").get_by_role("button", name="Drop").click()
    says(page, "--drop 4")
    page.get_by_role("button", name="Undo").click()
    says(page, "--undo")
    page.get_by_text("star files are older than the labels").wait_for()
    page.get_by_role("button", name="Write star files").click()
    says(page, "Done: 4 star files and 1 of junk written")
    stars = {path.name for path in (results / "clusters").iterdir()}
    assert stars == {"cluster_01_ribosome.star", "cluster_02.star", "cluster_04.star"}
    labels, _ = read_labels_csv(results / "labels.csv")
    assert len(read_particles_star(results / "clusters" / "cluster_01_ribosome.star")) == sum(
        labels == 0
    )
    for words in (["--merge", "1+3", "--why", "one shape"], ["--name", "1=ribosome"],
                  ["--drop", "4"], ["--undo"]):  # fmt: skip
        assert main(["curate", str(typed), *words]) == 0
    for name in ("labels.csv", "particles.star", "clusters/cluster_01_ribosome.star"):
        assert (typed / name).read_bytes() == (results / name).read_bytes()
    page.get_by_role("link", name="History").click()
    page.get_by_text("merge 1+3").wait_for()
    assert page.locator(".decisions li").count() == 4


def test_particles_are_selected_on_the_map_and_in_the_tomogram_and_ticked_away(
    page: Any, results: Path
) -> None:
    def selected(text: str) -> None:
        sync_api.expect(page.locator("#selected")).to_contain_text(text, timeout=_PATIENCE_MS)

    def drag(places: list[tuple[float, float]], within: str) -> None:
        box = page.locator(f"{within} .nsewdrag").bounding_box()
        x, y = ([box[a] + share * box[b] for share in part] for a, b, part in
                zip("xy", ("width", "height"), zip(*places, strict=True), strict=True))  # fmt: skip
        page.mouse.move(x[0], y[0])
        page.mouse.down()
        for place in zip(x[1:], y[1:], strict=True):
            page.mouse.move(*place, steps=4)
        page.mouse.up()

    page.get_by_role("link", name="Map").click()
    page.locator("#map .nsewdrag").wait_for()
    drag([(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02)], "#map")
    selected("60 selected: 15 cluster 1")
    page.get_by_role("link", name="look at them").click()
    page.get_by_text("1 to 60 of 60").wait_for()
    page.locator(".wall input").nth(0).check()
    page.locator(".wall input").nth(1).check()
    selected("2 selected")
    page.get_by_role("button", name="Move").click()
    says(page, "move 2 particles to no cluster")
    assert sum(read_labels_csv(results / "labels.csv")[0] < 0) == 5

    page.get_by_role("link", name="Tomogram").click()
    page.locator("#slice .layer-above, #slice image").first.wait_for()
    before = page.locator("#slice image").get_attribute("href")
    page.locator("#slice .nsewdrag").hover()
    page.mouse.wheel(0, 120)
    sync_api.expect(page.locator("#slice image")).not_to_have_attribute("href", before)
    circle = page.locator("#slice .points path").first
    circle.hover(force=True)
    circle.click(force=True)
    page.locator("#particle img").first.wait_for()
    selected("1 selected")
    drag([(0.02, 0.02), (0.98, 0.98)], "#slice")
    sync_api.expect(page.locator("#selected")).not_to_contain_text("1 selected")


def test_suggestions_are_applied_while_a_cluster_is_split(
    page: Any, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    def in_halves(_: Any, rows: Any, *__: Any) -> Any:
        assert let_go.wait(_PATIENCE_MS / 1000)
        return np.arange(len(rows)) % 2

    monkeypatch.setattr(split_cluster, "sorted_again", in_halves)
    monkeypatch.setattr(split_cluster, "FEWEST_TO_SPLIT", 4)
    made = [Suggestion("merge", (1, 3), "they are alike"), Suggestion("drop", (3,), "it is noise")]
    monkeypatch.setattr(suggestion_cache, "suggest", lambda *_, **__: Suggestions(made, ["names"]))
    page.get_by_role("button", name="Suggest").click()
    says(page, "2 suggestions")
    assert page.locator(".suggestions").inner_text().count("\n") > 2
    page.get_by_role("checkbox", name="cluster 2").check()
    page.get_by_role("button", name="Split").click()
    sync_api.expect(page.locator("#work")).to_contain_text("sorting the members of cluster 2 again")
    page.get_by_role("button", name="Merge 1 and 3").click()
    says(page, f"aitom-disca curate {results} --merge 1+3 --why 'they are alike'")
    page.get_by_text("Nothing is suggested").wait_for()  # there is no cluster 3 to drop
    page.get_by_role("checkbox", name="cluster 4").check()
    page.get_by_role("button", name="Split").click()
    says(page, "The page is still sorting the members of cluster 2 again")
    let_go.set()
    says(page, "Done: split 2 (seed 0); its parts are 2 and 5.")
    page.get_by_role("article", name="cluster 5").wait_for()
    sync_api.expect(page.locator("#work")).to_be_empty()


def test_nothing_is_cut_on_wide_and_narrow_screens(page: Any) -> None:
    name = page.get_by_label("name of cluster 1")
    name.fill("ribosome")
    name.press("Enter")
    says(page, "--name 1=ribosome")
    page.get_by_role("link", name="Tomogram").click()
    values = page.locator(".toolbar .slider input[type=number]")
    sync_api.expect(values).to_have_count(2, timeout=_PATIENCE_MS)
    for value in values.all():
        sync_api.expect(value).to_be_visible()
    title, card = (page.locator(f"#slice{part}").bounding_box() for part in (" .xtitle", ""))
    assert title["y"] + title["height"] < card["y"] + card["height"] - 8
    page.set_viewport_size({"width": 2560, "height": 1300})
    page.get_by_role("link", name="Clusters").click()
    last = page.get_by_role("article").last.bounding_box()
    assert last["x"] + last["width"] > 2500
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("link", name="History").click()
    assert page.locator(".when").bounding_box()["height"] < 30  # one line
    page.get_by_role("link", name="Map").click()
    cut = "e => e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1"
    assert not page.locator("#across").evaluate(
        f"box => [...box.querySelectorAll('*')].some({cut})"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 390
