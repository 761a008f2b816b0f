"""Names of files: which tomogram they tell of, and safe ones for files that are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from aitom_disca.io.tomogram_names import series_name

# Further numbers, but not of what programs add, such as _10.00Apx: TS_1_2 is not TS_1.
_NUMBERS = r"(?:[_.-]\d+(?!\.\d|[^\W_]))*"
_END = r"(?![^\W_])"
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\s\x00-\x1f\x7f]+')
_LONGEST = 100  # bytes
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._+-]+")
_LATIN = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O"}
    | {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "ı": "i"}
    | {"ħ": "h", "Ħ": "H", "ŋ": "ng", "Ŋ": "Ng", "ŧ": "t", "Ŧ": "T", "ĸ": "k", "ə": "e", "Ə": "E"}
)
_GREEK = re.compile(r"GREEK (?:SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)")


def name_in(path: str | Path, names: Iterable[str], shared: Iterable[str] = ()) -> str | None:
    """The tomogram that the name of a file tells, such as TS_1 for ``TS_1_ribosome.ndjson``.

    Parameters
    ----------
    path : path
    names : iterable of str
        Of known tomograms.
    shared : iterable of str
        Folders that their files lie in, too.

    Returns
    -------
    str or None
        The longest of the names that the file's name begins with, or that stands in it behind
        words without numbers; else what stands anywhere in it and differs from one of the names
        in its numbers, and perhaps in capitals; else the folder above it of one of these names, or
        of one that differs from them in the same way.
    """
    known = list(names)
    stem = Path(path).stem
    forms = _forms(known)
    for form in sorted(forms, key=len, reverse=True):
        if _stands_in(stem, re.escape(form)) == form:
            return forms[form]
    for form in sorted(forms, key=len, reverse=True):
        found = _stands_in(stem, _alike(form))
        if found is not None:
            return found
        other = _stands_in(stem, rf"(?i:{_alike(form)})", behind=".*")
        if other is not None and not _is_one_of(other, forms):
            return other
    for folder in reversed(Path(path).parts[:-1]):
        if folder in known:
            return folder
        alike = any(re.fullmatch(_alike(form), folder, re.IGNORECASE) for form in forms)
        if alike and folder not in shared and not _is_one_of(folder, forms):
            return folder
    return None


def _alike(form: str) -> str:
    """A pattern of what differs from a name in its numbers; of nothing, if it has none."""
    pattern = re.sub(r"\d+", r"\\d+", re.escape(form))
    return pattern if r"\d" in pattern and re.search("[A-Za-z]", form) else r"(?!)"


def _is_one_of(text: str, forms: Iterable[str]) -> bool:
    return text.casefold() in {form.casefold() for form in forms}


def _forms(names: list[str]) -> dict[str, str]:
    """Names as files hold them, and the tomograms that they mean, if that is one."""
    forms: dict[str, set[str]] = {}
    parts = file_parts(names)
    for name in names:
        for form in {parts[name], series_name(name)} - set(names):
            forms.setdefault(form, set()).add(name)
    return {form: one.pop() for form, one in forms.items() if len(one) == 1} | dict(
        zip(names, names, strict=True)
    )


def _stands_in(stem: str, pattern: str, behind: str = r"\D*") -> str | None:
    """What fits a pattern, with all numbers behind it; None where letters or digits go on."""
    found = re.match(rf"(?:{behind}[\W_])?({pattern}{_NUMBERS}){_END}", stem)
    return None if found is None else found[1]


def versions_of(name: str, names: Iterable[str], others: Iterable[str]) -> list[str]:
    """Which others are versions of a tomogram: of its name, or that and more behind it.

    ``TS_1_denoised`` is a version of ``TS_1``, but ``TS_10`` and ``TS_1_2`` are not, nor is a
    version of another, longer one of the ``names``.
    """
    longer = sorted(names, key=len, reverse=True)
    return [
        other for other in others if next((n for n in longer if _goes_on(other, n)), None) == name
    ]


def _goes_on(other: str, name: str) -> bool:
    found = re.match(rf"{re.escape(name)}{_NUMBERS}{_END}", other)
    return found is not None and found[0] == name


def file_parts(names: Iterable[str]) -> dict[str, str]:
    """Names without what names of files cannot hold; never one for two.

    What is forbidden becomes ``-``. Where that makes two names one, also but for capitals, the
    later ones get a number.
    """
    unique = list(dict.fromkeys(map(str, names)))
    return dict(zip(unique, distinct_parts(unique), strict=True))


def distinct_parts(names: Iterable[str]) -> list[str]:
    """As `file_parts`, but of names that may be there twice, such as those of maps in two folders.

    The later ones get a number.
    """
    found: list[str] = []
    used: set[str] = set()
    for name in names:
        part = one = file_part(name)
        number = 1
        while (same := unicodedata.normalize("NFC", one).casefold()) in used:
            number += 1
            one = f"{part}-{number}"
        used.add(same)
        found.append(one)
    return found


def file_part(name: str) -> str:
    """A name without what names of files cannot hold."""
    part = _FORBIDDEN.sub("-", name).strip("-. ").encode()[:_LONGEST].decode(errors="ignore")
    return part or "tomogram"


def plain_part(name: str) -> str:
    """A name in the letters, digits and signs that every shell and RELION take as they are.

    Accents are taken off, Greek letters are spelled (``α`` as alpha), as are the Latin ones of
    European languages that have no plain form (``ß`` as ss, ``ø`` as o). Other letters are left
    out, signs become ``-``. It is empty where nothing is left.
    """
    letters = unicodedata.normalize("NFKD", name).translate(_LATIN)
    spelled = "".join(letter if letter.isascii() else _spelled(letter) for letter in letters)
    return _NOT_PLAIN.sub("-", spelled)[:_LONGEST].strip("-. ")


def name_endings(names: Mapping[int, str]) -> dict[int, str]:
    """How files of clusters that have names end behind their number: ``_ribosome``.

    Parameters
    ----------
    names : mapping of int to str
        By the number of the cluster. Files are told apart by it, so that names may become one, or
        nothing, in `plain_part`.
    """
    return {number: f"_{part}" for number, name in names.items() if (part := plain_part(name))}


def _spelled(letter: str) -> str:
    greek = _GREEK.fullmatch(unicodedata.name(letter, ""))
    if greek is not None:
        return greek[1].lower()
    return "" if letter.isalpha() or unicodedata.combining(letter) else " "
