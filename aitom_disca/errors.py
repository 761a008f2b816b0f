"""Errors that a user is meant to read, and one that the program recovers from."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path


class InputError(ValueError):
    """Input that cannot be used.

    The message is one plain sentence: what was expected, what came, and what to do. The command
    line prints it without a traceback and ends with exit code 2.
    """


class IterationError(RuntimeError):
    """An iteration that gave nothing usable, such as a loss that is not a number.

    The message is the reason, in words that fit into "iteration 4: ...". The loop goes back to
    the iteration before and tries again with a smaller learning rate.
    """


# What the system says of disks and files, and what to do.
_ELSEWHERE = "free some, or choose a folder elsewhere"
_FAULTS = {
    errno.ENOSPC: f"there is no room left in {{folder}} for {{name}}; {_ELSEWHERE}",
    errno.EDQUOT: f"your quota in {{folder}} leaves no room for {{name}}; {_ELSEWHERE}",
    errno.EFBIG: "{name} became larger than a file in {folder} may be (ulimit -f); raise the limit",
    errno.EROFS: "{name} cannot be written, since {folder} is read-only; choose another folder",
    errno.EIO: "the disk failed while {name} in {folder} was read or written; check it",
    errno.EACCES: "{name} in {folder} may not be read or written; ask for permission",
    errno.EPERM: "{name} in {folder} may not be read or written; ask for permission",
    errno.ENOENT: "{name} is not in {folder} (any more); bring it back",
    errno.ESTALE: "{name} is not in {folder} any more; bring it back",
    errno.EISDIR: "{name} in {folder} is a folder, where a file was expected; choose another name",
    errno.ENOTDIR: "{folder} is no folder, or not one that can hold {name}; choose another",
    errno.ENAMETOOLONG: "the name {name} is longer than {folder} can hold; choose a shorter one",
    errno.EPIPE: "what {name} is given is not read any more",
    errno.EMFILE: "too many files were open when {name} in {folder} was opened (ulimit -n)",
}
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def is_of_disk(error: OSError) -> bool:
    """Whether a disk is full or broken, rather than a path wrong."""
    return error.errno in _OF_DISKS


def disk_fault(error: OSError) -> str | None:
    """One sentence about a file or a disk that failed; None for other errors."""
    if error.errno is None or error.errno not in _FAULTS:
        return None
    if not isinstance(error.filename, str | os.PathLike):
        return f"a file could not be read or written ({os.strerror(error.errno)}); try it again."
    path = Path(os.path.abspath(error.filename))
    words = _FAULTS[error.errno].format(name=path.name or path, folder=path.parent)
    is_temporary = Path(tempfile.gettempdir()) in (path.parent, path.parent.parent)
    also = ", or set TMPDIR to a folder with more room" if is_temporary else ""
    return f"{words}{also}."
