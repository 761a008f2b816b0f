"""What is shown of long steps on a terminal, in a log, in a notebook, and in a library."""

from __future__ import annotations

import io
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from aitom_disca import progress
from aitom_disca.computing.parallel import in_tasks, on_all_cores
from aitom_disca.number_text import about, between, counted, duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that each piece of work puts forward."""
    now = [0.0]
    monkeypatch.setattr(progress, "_now", lambda: now[0])

    def work(seconds):
        now[0] += seconds

    return work


@pytest.fixture
def log():
    """Lines of a log, once the block is left."""
    text = io.StringIO()
    with progress.shown(Console(file=text, width=200)):
        yield lambda: text.getvalue().splitlines()


def test_a_log_has_one_line_of_a_long_step_and_none_of_a_short_one(clock, log):
    for seconds in progress.track([0.1, 0.2], "short"):
        clock(seconds)
    for seconds in progress.track([3, 4, 5], "long"):
        clock(seconds)
    assert log() == ["long: 12 s"]


def test_a_very_long_step_says_on_the_way_how_long_it_will_take(clock, log):
    for _ in progress.track(range(100), "hours"):
        clock(60)
    said = log()
    assert said[0] == "hours: 2 of 100, about 2 h left"
    assert 4 <= len(said) <= 8 and said[-1] == "hours: 1 h 40 min"


def test_a_log_says_nothing_of_parts_of_a_step_and_all_that_is_found(clock, log):
    with progress.step("whole", 3) as whole:
        for number in range(3):
            for _ in progress.track(range(2), "part"):
                clock(5)
            progress.say(f"found {number}")
            whole.advance()
        whole.outcome = "3 rounds"
    assert log() == ["found 0", "found 1", "found 2", "whole: 3 rounds in 30 s"]


def test_what_fails_is_not_said_to_be_done(clock, log):
    with pytest.raises(ValueError, match="why"):
        for _ in progress.track(range(2), "fails"):
            clock(5)
            raise ValueError("why")
    progress.say("after it")
    assert log() == ["after it"]


def test_threads_count_their_pieces(clock, log):
    with progress.step("threads", 400) as going_on, progress.muted():
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: going_on.advance(), range(400)))
        assert going_on.done == 400
        assert on_all_cores(lambda n: n * n, [1, 2, 3], "squares") == [1, 4, 9]
        clock(3)
    assert log() == ["threads: 3.0 s"]


def test_tasks_in_this_process_are_shown_where_there_are_several(clock, log):
    assert list(in_tasks(clock, [3], None, "one")) == [None]
    assert list(in_tasks(clock, [3, 3], None, "two")) == [None, None]
    assert log() == ["two: 6.0 s"]


def test_a_terminal_has_bars_of_what_takes_long_and_is_left_clean(clock):
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True)
    drawn = []
    with progress.shown(console):
        for _ in progress.track(range(4), "outer [brackets]"):
            for _ in progress.track(range(2), "inner"):
                clock(10)
                bars = progress._step.get()._bars
                seen = io.StringIO()
                Console(file=seen, width=80).print(bars.make_tasks_table(bars.tasks))
                drawn.append(seen.getvalue())
    assert "outer [brackets]" in drawn[3] and "inner" in drawn[3]
    assert "1/4" in drawn[3] and "about 2 min left" in drawn[3]
    assert max(map(len, drawn[3].splitlines())) <= 80, drawn[3]
    assert screen.getvalue().endswith("outer [brackets]: 1 min 20 s\n")


def test_a_bar_that_an_error_left_is_gone_when_the_error_is_said(clock):
    console = Console(file=io.StringIO(), force_terminal=True)
    held = progress.track(range(3), "held")
    with pytest.raises(ValueError, match="stop"), progress.shown(console):
        next(held)
        bars = progress._step.get()._bars
        assert bars.live.is_started
        raise ValueError("stop")
    assert not bars.live.is_started and progress._step.get() is None
    held.close()
    assert progress._step.get() is None


def test_a_library_shows_nothing(clock, capsys):
    for _ in progress.track(range(3), "unseen"):
        clock(60)
    progress.say("unseen")
    assert capsys.readouterr() == ("", "")


def test_a_notebook_shows_a_bar_and_then_a_line(clock, monkeypatch):
    drawn = []
    handle = types.SimpleNamespace(update=drawn.append)

    def display(html, display_id):
        drawn.append(html)
        return handle

    def console(**rest):
        return Console(file=io.StringIO(), force_jupyter=True, **rest)

    module = types.SimpleNamespace(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(progress, "Console", console)
    for _ in progress.track(range(4), "training"):
        clock(1.6)
    assert drawn == [
        '<progress value="2" max="4"></progress> training: 2 of 4, about 5 s left',
        '<progress value="3" max="4"></progress> training: 3 of 4, about 5 s left',
        '<progress value="4" max="4"></progress> training: 4 of 4',
        "training: 6.4 s",
    ]


@pytest.mark.parametrize(("n", "said"), [(0, "0 tomograms"), (1, "1 tomogram"), (2, "2 tomograms")])
def test_a_number_with_its_noun(n, said):
    assert counted(n, "tomogram") == said
    assert counted(n, "axis", "axes") == f"{n} {'axis' if n == 1 else 'axes'}"


@pytest.mark.parametrize(
    ("seconds", "took", "will_take"),
    [
        (0.04, "0.0 s", "5 s"),
        (9.96, "10.0 s", "10 s"),
        (59.7, "1 min", "60 s"),
        (60, "1 min", "60 s"),
        (135, "2 min 15 s", "2 min"),
        (3599.8, "1 h", "60 min"),
        (7500, "2 h 5 min", "2 h"),
        (97_000, "1 d 3 h", "27 h"),
        (700_000, "8 d 2 h", "8 d"),
    ],
)
def test_durations_in_words(seconds, took, will_take):
    assert duration(seconds) == took and about(seconds) == will_take


def test_ranges_of_durations_in_words():
    assert between(300, 1200) == "5 to 20 min"
    assert between(40, 200) == "40 s to 3 min"
    assert between(61, 62) == "about 60 s"


def test_names_are_said_as_they_are(log):
    progress.say("cluster 4 a :b: [red]")  # neither a picture nor a colour
    assert log() == ["cluster 4 a :b: [red]"]
