"""What a tomogram is called in a file, and which of those that are known it is.

A name is exact: ``TS_10`` is not ``TS_1``. It may come with a folder and a file type, which are
left away only as far as names stay distinct, and with what programs add to the name of a tilt
series, which is left away only where one tomogram fits one name. `file_names` has the rules for
names of files.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from aitom_disca.errors import InputError
from aitom_disca.io.numbers_in_files import is_missing
from aitom_disca.particles import TomogramInfo
from aitom_disca.progress import say

_TYPES = re.compile(r"(\.(mrc|rec|map|em|hdf|tomostar|zarr|ome(?=\.zarr)|gz|bz2))+$", re.IGNORECASE)
_WINDOWS = re.compile(r"([A-Za-z]:)?\\")
# What programs add to the name of a tilt series when they align, reconstruct and filter it.
_ADDED = re.compile(
    r"(\.(st|ali|mrc|rec)|_+(rec|full|vol|ali|preali|aligned|\d+(\.\d+)?(apx|angpix)"
    r"|bin\d+(\.\d+)?|bp|wbp|sirt|sart|flip(ped|x|y|z)?|rotx|trim(med)?|dn|denoised|dctf|3dctf"
    r"|deconv|ctfcorr|corrected|filt|filtered|isonet|cryocare|2nd|evn|odd|even|half[12]))+$",
    re.IGNORECASE,
)
_SIZE = re.compile(r"_(\d+(?:\.\d+)?(?=apx|angpix)|bin\d+)")
_ADDED_BEFORE = re.compile(r"^rec_(?=.)")  # by RELION

_LONGEST = 1000  # signs of a name; an array of names takes as much for each as for the longest

_Key = tuple[str, ...]


def fault_of(name: object) -> str | None:
    """What keeps a name from being one, in words; None where nothing does."""
    text = str(name)
    if is_missing(text):
        return "which stands for no name"
    if len(text) > _LONGEST:
        return f"of {len(text)} signs, where {_LONGEST} are the most"
    if not text.isprintable() or text != " ".join(text.split()):
        return "with line ends, tabs, several blanks or other signs that a text file does not keep"
    return None


def check_names(names: Iterable[object], where: str) -> None:
    """Refuse names that are missing, and such as no file of text can hold.

    Parameters
    ----------
    names : iterable
        One for every row, from row 1.
    where : str
        What the file is called in the error.

    Raises
    ------
    InputError
        With the number of the first row whose name is not sound.
    """
    sound: set[object] = set()
    for row, name in enumerate(names, 1):
        fault = None if name in sound else fault_of(name)
        if fault is not None:
            raise InputError(
                f"{where} calls the tomogram of row {row} {str(name)[:80]!r}, {fault}; name it, or "
                "leave out the row."
            )
        sound.add(name)


def tomogram_name(path: str | Path) -> str:
    """Name of a tomogram from its file: without folder and file type; in copick that of its run."""
    parts = _parts(path)
    if len(parts) > 3 and parts[-4] == "ExperimentRuns" and parts[-2].startswith("VoxelSpacing"):
        return parts[-3]
    return _without_type(parts[-1])


def series_name(name: str) -> str:
    """Name of a tilt series from that of its tomogram: without what programs add to it."""
    plain = tomogram_name(name)
    return _ADDED_BEFORE.sub("", _ADDED.sub("", plain)) or plain


def _without_type(name: str) -> str:
    return _TYPES.sub("", name) or name


def _parts(path: str | Path) -> list[str]:
    text = str(path)
    if _WINDOWS.match(text):
        text = text.replace("\\", "/")
    return [part for part in text.split("/") if part not in ("", ".")] or [text]


def _plain_parts(path: str | Path) -> list[str]:
    parts = _parts(path)
    return [*parts[:-1], _without_type(parts[-1])]


def short_names(paths: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Names for what files call their tomograms, cut only as far as they stay distinct.

    Parameters
    ----------
    paths : iterable of str
        Names, or paths of files.
    taken : iterable of str
        Names that are none of theirs.

    Returns
    -------
    dict of str to str
    """
    choices = {path: _choices(path) for path in paths}
    level = dict.fromkeys(choices, 0)
    others = Counter(set(taken))
    while True:
        counts = others + Counter(choices[path][i] for path, i in level.items())
        twice = [path for path, i in level.items() if counts[choices[path][i]] > 1]
        longer = [path for path in twice if level[path] + 1 < len(choices[path])]
        if not longer:
            return {path: choices[path][i] for path, i in level.items()}
        for path in longer:
            level[path] += 1


def _choices(path: str) -> list[str]:
    """Names from the shortest to the whole path."""
    found = [tomogram_name(path)]
    for parts in (_plain_parts(path), _parts(path)):
        found += ["/".join(parts[-n:]) for n in range(1, len(parts) + 1)]
    return list(dict.fromkeys([*found, path]))


def tomogram_names(
    said: Iterable[str], tomograms: Mapping[str, TomogramInfo], where: str, *, whole: bool = False
) -> dict[str, str]:
    """What the tomograms of a file are called here: as those known that they are, else shortly.

    Parameters
    ----------
    said : iterable of str
        What the file calls them; each may be a path.
    tomograms : mapping of str to TomogramInfo
        Those known.
    where : str
        What the file is called in errors.
    whole : bool
        Whether those that are not known keep their paths, to be cut together with the names in
        other files.

    Returns
    -------
    dict of str to str
        Never one for two.

    Raises
    ------
    InputError
        If two of them could be one known tomogram, or one of them two.
    """
    unique = list(dict.fromkeys(said))
    found = known_among(unique, tomograms, where)
    rest = [name for name in unique if name not in found]
    return found | ({name: name for name in rest} if whole else short_names(rest, tomograms))


def known_among(
    said: Iterable[str], tomograms: Mapping[str, TomogramInfo], where: str
) -> dict[str, str]:
    """Which names in a file are known tomograms, and by which names those are known.

    A name fits as it is; by the end of the path of a tomogram's file; without folder and file
    type; and at last, which is said aloud, without what programs add to the name of a tilt series.

    Raises
    ------
    InputError
        If two names could be one tomogram, or one name two tomograms.
    """
    unique = list(dict.fromkeys(said))
    found = {name: name for name in unique if name in tomograms}
    for keys_said, keys_known in _WAYS:
        left = {name: keys_said(name) for name in unique if name not in found}
        free = {
            name: keys_known(name, info)
            for name, info in tomograms.items()
            if name not in found.values()
        }
        pairs = _pairs(left, free, tomograms, where)
        if keys_said is _series and pairs:
            say(f"{where}: {_some(pairs)} is taken as the tomogram {_some(pairs.values())}")
        found |= pairs
    return found


def _pairs(
    left: Mapping[str, list[_Key]],
    free: Mapping[str, list[_Key]],
    tomograms: Mapping[str, TomogramInfo],
    where: str,
) -> dict[str, str]:
    """Names in a file and known tomograms that have a key in common."""
    known: dict[_Key, list[str]] = defaultdict(list)
    for name, keys in free.items():
        for key in dict.fromkeys(keys):
            known[key].append(name)
    pairs: dict[str, str] = {}
    for said, keys in left.items():
        sharing = {name for key in keys for name in known.get(key, ())}
        paths = {name: tomograms[name].path for name in sharing}
        fitting = sorted(
            name
            for name, path in paths.items()
            if not (path and are_apart(said, path)) and not _is_of_other_size(said, name)
        )
        if len(fitting) > 1:
            raise InputError(
                f"{where} holds particles of {said}, which could be in either of the tomograms "
                f"{_some(fitting)}; give only the one that it is."
            )
        pairs |= dict.fromkeys([said], *fitting) if fitting else {}
    for name, n in Counter(pairs.values()).items():
        if n > 1:
            both = [said for said, fits in pairs.items() if fits == name]
            raise InputError(
                f"{where} holds particles of {_some(both)}, which could each be of the tomogram "
                f"{name}; call the tomogram by the name that it has there."
            )
    return pairs


def are_apart(one: str | Path, other: str | Path) -> bool:
    """Whether a folder tells two files of one name apart: TS_3/rec.mrc is not TS_4/rec.mrc.

    Folders count where the file's own name has no number, and where theirs alone differ.
    """
    if re.search(r"\d", tomogram_name(one)):
        return False
    folders = zip(_parts(one)[-2::-1], _parts(other)[-2::-1], strict=False)
    return any(a != b and re.sub(r"\d+", "", a) == re.sub(r"\d+", "", b) for a, b in folders)


def _is_of_other_size(one: str, other: str) -> bool:
    """Whether two names say two sizes of voxels: positions in TS_1_bin8 do not fit TS_1_bin4."""
    sizes = [_SIZE.findall(tomogram_name(name).lower()) for name in (one, other)]
    return all(sizes) and sizes[0] != sizes[1]


def _exact(name: str, info: TomogramInfo | None = None) -> list[_Key]:
    return [(unicodedata.normalize("NFC", name),)]


def _path(name: str) -> list[_Key]:
    parts = _plain_parts(name)
    return [tuple(parts)] if len(parts) > 1 else []


def _tails(name: str, info: TomogramInfo) -> list[_Key]:
    """Ends of a path, of a folder and more."""
    paths = [_plain_parts(path) for path in (name, info.path) if path is not None]
    return [tuple(parts[-n:]) for parts in paths for n in range(2, len(parts) + 1)]


def _plain(name: str, info: TomogramInfo | None = None) -> list[_Key]:
    paths = [name] if info is None or info.path is None else [name, str(info.path)]
    return [key for path in paths for key in _exact(tomogram_name(path))]


def _series(name: str, info: TomogramInfo | None = None) -> list[_Key]:
    return _exact(series_name(name))


_WAYS: tuple[tuple[Callable[[str], list[_Key]], Callable[[str, TomogramInfo], list[_Key]]], ...] = (
    (_exact, _exact),
    (_path, _tails),
    (_plain, _plain),
    (_series, _series),
)


def is_called(said: str, name: str) -> bool:
    """Whether what a file says is a tomogram's name, perhaps with a path and a file type."""
    return name in _choices(said)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} others" if len(listed) > 3 else "")
