"""The result in a sentence, and the few that follow it."""

from __future__ import annotations

from collections.abc import Sequence

from aitom_disca import number_text
from aitom_disca.report.cards import ClusterCard
from aitom_disca.report.report_data import ReportData


def headline(data: ReportData) -> str:
    """How many kinds of particle there are, and how many are to be trusted.

    Clusters that are not told from noise are no kind of particle.
    """
    if not data.cards:
        return "Nothing was sorted."
    place = "" if not data.n_tomograms else f" in {counted(data.n_tomograms, 'tomogram')}"
    kinds = [card for card in data.cards if card.verdict != "not told from noise"]
    trusted = _with(kinds, "to be trusted")
    if not kinds:
        return f"No kind of particle was told from noise{place}."
    n = counted(len(kinds), "kind")
    if len(_with(kinds, "not judged")) == len(kinds):
        return f"{n} of particle{place}, not judged yet: nothing was averaged."
    if trusted == kinds:
        every = {1: "", 2: "both "}.get(len(kinds), "all ")
        return f"{n} of particle{place}, {every}to be trusted."
    possible = counted(len(kinds), "possible kind")
    return f"{possible} of particle{place}; {len(trusted) or 'none'} to be trusted."


def explained(data: ReportData) -> list[str]:
    """The sentences under the headline."""
    if not data.cards:
        return []
    inside = data.n_subtomograms - data.n_in_none
    first = f"{counted(inside, 'particle')} in {counted(len(data.cards), 'cluster')}"
    if data.n_in_none:
        one = data.n_in_none == 1
        first += (
            f"; {plain(data.n_in_none)} {'belongs' if one else 'belong'} to none, as "
            f"{'it fits' if one else 'they fit'} none better than noise does"
            f"{', or a person left them out' if data.curated else ''}"
        )
    said = [f"{first}."]
    again, noise = _with(data.cards, "look again"), _with(data.cards, "not told from noise")
    if again:
        why = "its card says why" if len(again) == 1 else "their cards say why"
        said.append(f"Look again at {_numbers(again)}: {why}.")
    if all(card.verdict == "not judged" for card in data.cards):
        said.append(
            "Averages tell which are to be trusted: aitom-disca average STORE --labels labels.csv "
            "--out averages, in this folder, and then aitom-disca report."
        )
    if noise:
        said.append(f"{_numbers(noise, capital=True)} {_be(noise)} not told from noise.")
    return said


def counted(n: int, noun: str) -> str:
    """A number with its noun, as a reader writes it: 1 cluster, 12 345 clusters."""
    return number_text.counted(n, noun).replace(str(n), plain(n), 1)


def plain(n: int) -> str:
    """A number as a reader writes it: 12 345."""
    return f"{n:,}".replace(",", "\u202f")


def _with(cards: Sequence[ClusterCard], verdict: str) -> list[ClusterCard]:
    return [card for card in cards if card.verdict == verdict]


def _numbers(cards: Sequence[ClusterCard], capital: bool = False) -> str:
    numbers = sorted(card.number for card in cards)
    *first, last = map(str, numbers)
    word = f"{'C' if capital else 'c'}luster" + ("s" if first else "")
    return f"{word} {', '.join(first)} and {last}" if first else f"{word} {last}"


def _be(cards: Sequence[ClusterCard]) -> str:
    return "is" if len(cards) == 1 else "are"
