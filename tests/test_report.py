"""The report is whole, self-contained, and its figures show what they are given."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from aitom_disca.errors import InputError
from aitom_disca.report import cluster_colour, figures
from aitom_disca.report.figures import (
    draw_bic,
    draw_feature_map,
    draw_history,
    draw_orthoslices,
)
from aitom_disca.report.html import CellPicture, ReportData, render_report, write_report
from aitom_disca.report.nuisance_table import NuisanceTable, table_of_rows

SECTIONS = {
    "summary", "clusters", "nuisance", "features", "feature-map", "bic", "history", "cells",
    "files", "limits", "details",
}  # fmt: skip
LABELS = np.array([0, 0, 1, 1, 1, -1, 2])
NUISANCE = NuisanceTable(
    ("mean intensity", "tomogram"),
    (None, 0, 1),
    np.array([[0.5, 0.1], [0.91, 0.2], [-0.3, np.nan]]),
    np.array([[False, False], [True, False], [False, False]]),
    ("A heavier structure does that.",),
)
ROWS = [
    {"iteration": 0, "k": 3, "ddbi": 0.9, "label_change": None, "sizes": [3, 2, 1]},
    {"iteration": 1, "k": 2, "ddbi": float("nan"), "label_change": 0.25, "sizes": [4, 2]},
]


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_DPI", 72)  # for speed


@pytest.fixture
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the text alone."""
    for name in ("orthoslices", "feature_map", "bic", "history"):
        monkeypatch.setattr(figures, f"draw_{name}", lambda *_, **__: b"")


class Page(HTMLParser):
    """Ids, images and whether every tag is closed in order."""

    VOID = ("meta", "img", "br", "hr", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.images: list[str] = []
        self.alts: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {found["id"] or ""} if "id" in found else set()
        if tag == "img":
            self.images.append(found["src"] or "")
            self.alts.append(found["alt"] or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += " " + re.sub(r"[ \n]+", " ", data)


def pixels(png: bytes) -> np.ndarray:
    return imread(BytesIO(png))[..., :3]


def has_colour(png: bytes, colour: str, tolerance: float = 0.02) -> bool:
    return bool((np.abs(pixels(png) - to_rgb(colour)).max(axis=2) < tolerance).any())


def whole_report(**changes: Any) -> ReportData:
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "title": "Lysate <A> & B",
        "summary": [("picks", 12345), ("voxel size", "13.3 Å"), ("ratio", 0.123456)],
        "cluster_rows": [(0, 1500, 0.93), (1, 300, None), (2, 200, 0.5)],
        "cluster_means": rng.normal(size=(3, 11, 12, 13)),
        "voxel_size_angstrom": 13.3,
        "embedding": rng.normal(size=(7, 2)),
        "labels": LABELS,
        "bic_by_k": {2: 10.0, 5: 8.0, 9: 11.0},
        "criteria": {"bic": {"2": 10.0, "5": 8.0}, "kl": {"5": 1234.5, "2": float("nan")}},
        "history": ROWS,
        "best_iteration": 0,
        "cells": [CellPicture("TS_01, slice 7", b"PNG", wide=True), CellPicture("TS_02", b"PNG")],
        "settings": {"seed": 20231, "picking": {"sigma_px": None, "k": [2, 3], "dark": True}},
        "versions": {"numpy": "2.0"},
        "timings_s": {"pick": 1.25},
        "files": [("particles.star", "all particles")],
        "warnings": ["2 picks were left out."],
        "nuisance": NUISANCE,
    }
    return ReportData(**{**fields, **changes})


def test_whole_report_has_every_section_and_nothing_from_outside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(path, whole_report())
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.ids == SECTIONS
    assert page.open == []
    assert "<script" not in text and "://" not in text and "<link" not in text
    assert len(page.images) == 3 + 3 + 2 and all(page.alts)
    assert all(source.startswith("data:image/png;base64,") for source in page.images)
    assert list(path.parent.iterdir()) == [path]  # no temporary file is left


@pytest.mark.usefixtures("_no_pictures")
def test_report_says_what_it_was_given() -> None:
    text = Page(render_report(whole_report())).text
    assert "Lysate <A> & B" in text  # escaped in the source
    assert "<A>" not in render_report(whole_report())
    assert "2\u202f000 subtomograms in 3 clusters of 200 to 1\u202f500." in text
    assert "12\u202f345" in text and "13.3 Å" in text and "0.1235" in text
    assert "75.0 %" in text and "0.93" in text and text.count("mean posterior") == 2
    assert "2 picks were left out." in text
    assert "iteration 0, whose solution was kept" in text
    assert "20231" in text and "not set" in text and "2, 3" in text and "true" in text
    assert "1.2 s" in text
    assert "nan" not in text


@pytest.mark.usefixtures("_no_pictures")
def test_every_criterion_says_what_it_prefers() -> None:
    text = Page(render_report(whole_report())).text
    assert "What other criteria prefer: BIC 5, Krzanowski-Lai 5" in text
    assert "1234" in text and "lowest" in text and "highest" in text
    assert "other criteria" not in render_report(whole_report(criteria={}))
    undefined = {"kl": {2: float("nan")}, "jump": {}}
    assert "other criteria" not in render_report(whole_report(criteria=undefined))
    assert "jump 3" in render_report(whole_report(criteria={"jump": {2: 1.0, 3: float("inf")}}))


@pytest.mark.usefixtures("_no_pictures")
def test_caption_tells_whether_means_are_aligned() -> None:
    assert "were not aligned" in render_report(whole_report())
    assert "were not aligned" not in render_report(whole_report(means_are_aligned=True))


@pytest.mark.usefixtures("_no_pictures")
@pytest.mark.parametrize(
    ("field", "section"),
    [
        ("summary", "summary"), ("cluster_rows", "clusters"), ("embedding", "feature-map"),
        ("bic_by_k", "bic"), ("history", "history"), ("cells", "cells"),
        ("files", "files"), ("limits", "limits"), ("nuisance", "nuisance"),
    ],
)  # fmt: skip
def test_a_field_left_out_leaves_out_its_section(field: str, section: str) -> None:
    nothing = {"bic_by_k": {}, "embedding": None, "nuisance": None}.get(field, ())
    changes = {field: nothing, "cluster_means": None}
    page = Page(render_report(whole_report(**changes)))
    assert page.ids == SECTIONS - {section}
    assert page.open == []


def test_empty_report_is_still_a_page() -> None:
    page = Page(render_report(ReportData()))
    assert page.ids == {"limits"} and page.images == [] and "DISCA report" in page.text


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, 7, None)], "All 7 subtomograms are in one cluster."),
        ([(0, 5, None), (1, 5, None)], "10 subtomograms in 2 clusters of 5 each."),
    ],
)
def test_headline_of_simple_results(rows: list[tuple[int, int, None]], expected: str) -> None:
    assert expected in render_report(ReportData(cluster_rows=rows))


def test_report_does_not_touch_pyplot() -> None:
    code = (
        "import sys; from aitom_disca.report.html import ReportData, render_report; "
        "render_report(ReportData(bic_by_k={1: 2.0})); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cluster_means": np.zeros((2, 4, 4, 4))}, "2 cluster_means for 3 cluster_rows"),
        ({"embedding": np.zeros((7, 3))}, r"embedding must have shape \(N, 2\); got \(7, 3\)"),
        ({"labels": np.zeros(6, int)}, "6 labels for 7 rows of the embedding"),
    ],
)
def test_fields_that_disagree_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        whole_report(**changes)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write report\.html"):
        write_report(tmp_path / "file" / "report.html", ReportData())


def test_figures_are_the_same_each_time() -> None:
    volume = np.random.default_rng(1).normal(size=(9, 10, 11))
    assert draw_orthoslices(volume, 10.0) == draw_orthoslices(volume, 10.0)


@pytest.mark.parametrize("shape", [(12, 12, 12), (13, 13, 13), (9, 11, 14)])
def test_orthoslices_show_the_planes_of_the_centre_index(
    shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    volume = rng.normal(size=shape)
    drawn = draw_orthoslices(volume)
    shown = np.zeros(shape, bool)
    for axis, n in enumerate(shape):
        np.moveaxis(shown, axis, 0)[n // 2] = True
    hidden_shuffled, shown_shuffled = volume.copy(), volume.copy()  # contrast stays as it is
    hidden_shuffled[~shown] = rng.permutation(volume[~shown])
    shown_shuffled[shown] = rng.permutation(volume[shown])
    assert draw_orthoslices(hidden_shuffled) == drawn != draw_orthoslices(shown_shuffled)


def test_orthoslices_begin_at_the_lower_left() -> None:
    volume = np.zeros((16, 16, 16))
    volume[8, :4, :4] = 1
    image = pixels(draw_orthoslices(volume)).mean(axis=2)
    panel = image[int(0.2 * len(image)) :, : image.shape[1] // 3 - 4]
    rows, columns = np.array_split(np.arange(panel.shape[0]), 2), panel.shape[1] // 2
    assert panel[rows[1], :columns].mean() > 0.15
    assert panel[rows[0], :columns].mean() < 0.05 > panel[rows[1], columns:].mean()


def test_a_feature_map_without_points_is_left_out() -> None:
    assert "feature-map" not in Page(render_report(ReportData(embedding=np.empty((0, 2))))).ids


def test_feature_map_shows_every_cluster_and_the_unassigned() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([-1, 0, 1, 11], 40)
    png = draw_feature_map(rng.normal(size=(160, 2)) + 9 * labels[:, None], labels)
    plain = draw_feature_map(rng.normal(size=(160, 2)))
    for cluster in (-1, 0, 1):
        blended = 0.75 * np.array(to_rgb(cluster_colour(cluster))) + 0.25
        assert (np.abs(pixels(png) - blended).max(axis=2) < 0.03).any()
    assert not has_colour(plain, cluster_colour(1), 0.1)


def test_bic_marks_the_lowest_or_the_chosen() -> None:
    values = {2: 5.0, 4: 3.0, 9: 6.0, 11: float("nan")}
    assert draw_bic(values) == draw_bic(values, 4) != draw_bic(values, 9)
    assert draw_bic(dict(reversed(values.items()))) == draw_bic(values)
    assert pixels(draw_bic({3: float("nan")})).size


def test_history_draws_what_the_rows_hold() -> None:
    png = draw_history(ROWS, 1)
    assert all(has_colour(png, cluster_colour(k)) for k in range(3))
    without_sizes = [{k: v for k, v in row.items() if k != "sizes"} for row in ROWS]
    assert not has_colour(draw_history(without_sizes), cluster_colour(1))
    assert pixels(draw_history([{"iteration": 0}])).size


@pytest.mark.parametrize(("width", "bar"), [(32.4, 5), (345.6, 50), (40, 10), (1000, 200)])
def test_scale_bar_is_round(width: float, bar: float) -> None:
    assert figures.scale_bar_nm(width) == bar


@pytest.mark.usefixtures("_no_pictures")
def test_subtomograms_in_no_cluster_are_counted() -> None:
    html = render_report(whole_report(n_in_none=1000, cluster_found=["9 of 10 runs"] * 3))
    text = Page(html).text
    assert "2\u202f000 subtomograms in 3 clusters of 200 to 1\u202f500, 1\u202f000 in none." in text
    assert "50.0 %" in text and "33.3 %" in text  # shares of all
    assert "flex: 1000 0 0; background: #b8b8b4" in html
    assert text.count("9 of 10 runs") == 3
    none = render_report(ReportData(cluster_rows=[(0, 7, None)], n_in_none=3))
    assert "7 subtomograms are in one cluster, 3 in none." in none


@pytest.mark.usefixtures("_no_pictures")
def test_names_of_clusters_are_shown() -> None:
    data = ReportData(cluster_rows=[(1, 5, None)], cluster_names={2: "<80S>"})
    assert "Cluster 2: &lt;80S&gt;</h3>" in render_report(data)


def test_effects_are_coloured_by_strength_and_framed_where_large() -> None:
    html = render_report(whole_report())
    cells = re.findall(r'<td( class="large")? style="background: (#\w{6})">([^<]*)</td>', html)
    assert [text for _, _, text in cells] == ["0.50", "0.10", "+0.91", "+0.20", "\u22120.30", "–"]
    assert [bool(large) for large, _, _ in cells] == [False, False, True, False, False, False]
    shade = [np.array(to_rgb(colour)) for _, colour, _ in cells]
    assert shade[5].min() == 1.0  # white
    assert shade[2].sum() < shade[3].sum() < 3  # stronger is darker
    assert shade[2][0] > shade[2][2] and shade[4][0] < shade[4][2]  # orange above, blue below
    assert "A heavier structure does that." in html


def test_the_table_of_effects_comes_from_the_rows_of_the_file() -> None:
    common = {"unit": "", "members": "9", "median": "", "p_adjusted": "0.5"}
    rows = [
        {"cluster": c, "property": p, "effect": e, "large": big, **common}
        for c, p, e, big in (
            ("all", "height", "0.2", "0"),
            ("10", "height", "-0.9", "1"),
            ("2", "tomogram", "", "0"),
        )
    ]
    table = table_of_rows(rows, ["n"])
    assert table.clusters == (None, 1, 9) and table.properties == ("height", "tomogram")
    np.testing.assert_array_equal(table.effects, [[0.2, np.nan], [np.nan, np.nan], [-0.9, np.nan]])
    assert table.large.sum() == 1 and table.large[2, 0] and table.notes == ("n",)
