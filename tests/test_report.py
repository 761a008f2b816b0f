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
from aitom_disca.report import cluster_colour, figure_style
from aitom_disca.report.cards import ClusterCard
from aitom_disca.report.figures import (
    draw_bic,
    draw_feature_map,
    draw_history,
    draw_orthoslices,
)
from aitom_disca.report.headline import explained, headline
from aitom_disca.report.html import render_report, write_report
from aitom_disca.report.report_data import ReportData
from aitom_disca.report.run_checks import Looked
from aitom_disca.report.tables import NuisanceTable, table_of_rows
from aitom_disca.report.tomogram_view import KindInView, SliceView, TomogramView
from aitom_disca.runs.record_and_resume import command_line

SECTIONS = {
    "problems", "tomogram", "clusters", "warnings", "map", "where", "files", "more", "limits",
    "bic", "history", "settings", "timings", "versions",
}  # fmt: skip
JPEG = b"\xff\xd8"
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
    monkeypatch.setattr(figure_style, "DPI", 72)  # for speed


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


def a_view(name: str = "TS_<1>") -> TomogramView:
    marks = [(0, np.array([[5.0, 6.0, 2.0], [8.0, 9.0, 2.0]])), (1, np.array([[1.0, 2.0, 0.0]]))]
    slices = [SliceView(z, JPEG, None, marks) for z in (3, 9)]
    kinds = [
        KindInView("ribosome", 1, "#0077bb", False, 1500),
        KindInView("gold", None, "#b8b8b4", False, 1),
    ]
    return TomogramView(name, 40, 30, 20, 10.0, slices, kinds, 9.0)


def a_card(number: int = 1, size: int = 300, **changes: Any) -> ClusterCard:
    return ClusterCard(number, size, size / 2000, **changes)


def whole_report(**changes: Any) -> ReportData:
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(11, 12, 13))
    fields: dict[str, Any] = {
        "title": "Lysate <A> & B",
        "cards": [
            a_card(2, 1500, name="<80S>", verdict="to be trusted", resolution="31 Å"),
            a_card(1, 300, verdict="look again", doubts=["It is <odd>."], mean_zyx=mean),
            a_card(3, 200, verdict="not told from noise", posterior=0.93),
        ],
        "members": {1: (rng.normal(size=(9, 8, 8)), rng.normal(size=(9, 8, 8)))},
        "n_tomograms": 2,
        "problems": ["It went wrong."],
        "tomograms": [a_view(), a_view("TS_2")],
        "looked": [
            Looked("Polarity", True, "bright."),
            Looked("Tilt range", False, "too wide.", serious=True),
        ],
        "nuisance": NUISANCE,
        "embedding": rng.normal(size=(7, 2)),
        "labels": LABELS,
        "counts": [
            {"tomogram": name, "cluster": cluster, "count": "9"}
            for name in ("TS_1", "TS_2") for cluster in "12"
        ],
        "bic_by_k": {2: 10.0, 5: 8.0, 9: 11.0},
        "criteria": {"bic": {"2": 10.0, "5": 8.0}, "kl": {"5": 1234.5, "2": float("nan")}},
        "history": ROWS,
        "best_iteration": 0,
        "command_line": "aitom-disca run 'a b.mrc'",
        "settings": {"seed": 20231, "picking": {"sigma_px": None, "k": [2, 3], "dark": True}},
        "versions": {"numpy": "2.0"},
        "timings_s": {"pick": 1.25},
        "files": [("clusters/a b.star", "all particles")],
    }  # fmt: skip
    return ReportData(**{**fields, **changes})


@pytest.fixture(scope="module")
def whole() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_style, "DPI", 72)
        return render_report(whole_report())


def test_whole_report_has_every_section_in_order_and_nothing_from_outside(whole: str) -> None:
    page = Page(whole)
    assert page.open == []
    assert SECTIONS <= page.ids and {"cluster-1", "cluster-2", "cluster-3"} <= page.ids
    sections = re.findall(r'<section id="(\w+)"', whole)
    assert sections == ["tomogram", "clusters", "warnings", "map", "where", "files", "more"]
    assert whole.index("It went wrong.") < whole.index("<section")
    assert "<script" not in whole and "://" not in whole and "<link" not in whole
    assert all(page.alts) and all(source.startswith("data:image/") for source in page.images)
    inside = re.findall(r'href="#([\w-]+)"', whole)
    assert set(inside) <= page.ids
    assert 'href="clusters/a%20b.star"' in whole


def test_a_report_is_written_as_one_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(path, ReportData(title="A"))
    assert "<title>A</title>" in path.read_text(encoding="utf-8")
    assert list(path.parent.iterdir()) == [path]  # no temporary file is left


def test_report_says_what_it_was_given(whole: str) -> None:
    text = Page(whole).text
    assert "Lysate <A> & B" in text and "<A>" not in whole  # escaped in the source
    assert "Cluster 2: <80S>" in text and "It is <odd>." in text and "<80S>" not in whole
    assert "2 possible kinds of particle in 2 tomograms; 1 to be trusted." in text
    assert "1\u202f500 (75 %)" in text and "31 Å" in text and "probability of 0.93" in text
    assert "Tilt range: too wide." in text and "bright." in text
    assert "iteration 0, whose solution was kept" in text
    assert "20231" in text and "not set" in text and "2, 3" in text and "true" in text
    assert "1.2 s" in text and "aitom-disca run 'a b.mrc'" in text
    assert "nan" not in text


def test_particles_lead_to_their_cards_and_are_counted(whole: str) -> None:
    frames = whole.count('<figure class="frame">')
    assert frames == 4 and whole.count(' checked><label class="step"') == 2  # one of each
    assert whole.count('<a href="#cluster-1"><title>cluster 1: ribosome</title>') == frames
    assert "M3.0 6.0a2.0 2.0 0 1 0 4.0 0" in whole  # a circle about x = 5, y = 6
    legend = re.search(r'<table class="legend">.*?</table>', whole, re.DOTALL)[0]
    assert "set apart: gold" in legend and "1\u202f500" in legend


def test_every_criterion_says_what_it_prefers(whole: str) -> None:
    text = Page(whole).text
    assert "What other criteria prefer" in text and "Krzanowski-Lai highest 5" in text
    assert "1234" in text and "lowest" in text
    undefined = {"kl": {2: float("nan")}, "jump": {}}
    assert "other criteria" not in render_report(ReportData(criteria=undefined))
    jump = Page(render_report(ReportData(criteria={"jump": {2: 1.0, 3: float("inf")}}))).text
    assert "jump highest 3" in jump


@pytest.mark.parametrize(
    ("field", "section"),
    [
        ("cards", "clusters"), ("tomograms", "tomogram"), ("embedding", "map"), ("counts", "where"),
        ("files", "files"), ("limits", "limits"), ("history", "history"), ("settings", "settings"),
    ],
)  # fmt: skip
def test_a_field_left_out_leaves_out_its_section(field: str, section: str) -> None:
    fields = {
        "cards": [a_card()], "tomograms": [a_view()], "embedding": np.zeros((7, 2)),
        "counts": [{"tomogram": "a", "cluster": "1", "count": "3"}] , "files": [("a", "b")],
        "limits": ["c"], "history": ROWS, "settings": {"seed": 1},
    }  # fmt: skip
    alone = Page(render_report(ReportData(**{"limits": (), field: fields[field]})))
    without = Page(render_report(ReportData(limits=())))
    assert section in alone.ids and section not in without.ids
    assert alone.open == without.open == []


def test_empty_report_is_still_a_page() -> None:
    page = Page(render_report(ReportData()))
    assert page.ids == {"limits", "more"} and page.images == [] and "DISCA report" in page.text


TRUSTED, AGAIN, NOISE = "to be trusted", "look again", "not told from noise"


@pytest.mark.parametrize(
    ("verdicts", "tomograms", "expected"),
    [
        ([TRUSTED], 1, "1 kind of particle in 1 tomogram, to be trusted."),
        ([TRUSTED] * 2, 3, "2 kinds of particle in 3 tomograms, both to be trusted."),
        ([TRUSTED] * 3, None, "3 kinds of particle, all to be trusted."),
        ([TRUSTED, NOISE], 1, "1 kind of particle in 1 tomogram, to be trusted."),
        (
            [TRUSTED] * 3 + [AGAIN] * 2, 2,
            "5 possible kinds of particle in 2 tomograms; 3 to be trusted.",
        ),
        ([AGAIN], 1, "1 possible kind of particle in 1 tomogram; none to be trusted."),
        ([NOISE], 1, "No kind of particle was told from noise in 1 tomogram."),
        (
            ["not judged"] * 2, 1,
            "2 kinds of particle in 1 tomogram, not judged yet: nothing was averaged.",
        ),
        ([], 1, "Nothing was sorted."),
    ],
)  # fmt: skip
def test_the_headline_says_what_was_found(
    verdicts: list[Any], tomograms: int | None, expected: str
) -> None:
    cards = [a_card(k, verdict=verdict) for k, verdict in enumerate(verdicts, 1)]
    assert headline(ReportData(cards=cards, n_tomograms=tomograms)) == expected


def test_the_headline_is_explained() -> None:
    cards = [a_card(3, 5, verdict=AGAIN), a_card(1, 2, verdict=AGAIN), a_card(2, 1, verdict=NOISE)]
    assert explained(ReportData(cards=cards, n_in_none=1, curated=True)) == [
        "8 particles in 3 clusters; 1 belongs to none, as it fits none better than noise does, "
        "or a person left them out.",
        "Look again at clusters 1 and 3: their cards say why.",
        "Cluster 2 is not told from noise.",
    ]


def test_a_command_line_is_that_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/aitom-disca", "run", "a b.mrc"])
    assert command_line() == "aitom-disca run 'a b.mrc'"
    monkeypatch.setattr(sys, "argv", ["/x/aitom_disca/__main__.py", "demo"])
    assert command_line() == "aitom-disca demo"
    monkeypatch.setattr(sys, "argv", ["pytest", "run"])
    assert command_line() == ""


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
    assert "map" not in Page(render_report(ReportData(embedding=np.empty((0, 2))))).ids


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
    assert figure_style.scale_bar_nm(width) == bar


def test_effects_are_coloured_by_strength_and_framed_where_large(whole: str) -> None:
    html = whole
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
