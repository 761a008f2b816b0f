"""The page served to the browser, on this machine alone unless told otherwise."""

from __future__ import annotations

import getpass
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

from werkzeug.serving import BaseWSGIServer, make_server

from aitom_disca.errors import InputError
from aitom_disca.explore.app import create_app
from aitom_disca.explore.command_lines import export_command
from aitom_disca.explore.results import Results
from aitom_disca.explore.token import new_token
from aitom_disca.progress import say

_ONLY_HERE = ("127.0.0.1", "localhost", "::1")


def explore(folder: str | Path, *, port: int = 8050, host: str = "127.0.0.1") -> None:
    """Serve the page of the results in a folder until it is stopped (Ctrl-C).

    Parameters
    ----------
    folder : path
        Of a run, or any with ``labels.csv`` and ``subtomograms.h5``.
    port : int
        1 to 65535.
    host : str
        Address to listen at; other machines can connect unless it is that of this one.

    Raises
    ------
    InputError
        If there are no results, or the port is taken.
    """
    results = Results(folder)
    token = new_token()
    server = listen(results, token, host, port)
    for line in opening(token, host, port):
        say(line)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("stopped")
    finally:
        server.server_close()
    if results.decisions and results.stars_are_old and results.store_path is not None:
        say("star files are older than your decisions; this writes them:")
        say(f"  {export_command(results.store_path, results.files.path, '3.1')}")


def listen(results: Results, token: str, host: str, port: int) -> BaseWSGIServer:
    """A server that is ready to serve.

    Raises
    ------
    InputError
        If the port cannot be had.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it would say every request
    check_free(host, port)
    app = create_app(results, token, port)
    return make_server(host, port, app.server, threaded=True)


def check_free(host: str, port: int) -> None:
    """Refuse a port that cannot be listened at.

    Raises
    ------
    InputError
    """
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise InputError(
                f"port {port} of {host} cannot be had ({error.strerror or error}); choose another "
                "with --port."
            ) from error


def opening(token: str, host: str, port: int) -> Iterator[str]:
    """Lines that say how to come to the page."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    yield "open this in a browser:"
    yield f"  http://{f'[{shown}]' if ':' in shown else shown}:{port}/?token={token}"
    yield "from another machine, open a tunnel there first, then the same address:"
    yield f"  ssh -N -L {port}:127.0.0.1:{port} {_user()}{socket.getfqdn()}"
    if host not in _ONLY_HERE:
        yield (
            f"listening at {host}: other machines can connect, and what they send can be read on "
            "the way; the tunnel is safer."
        )
    yield "Ctrl-C ends it."


def _user() -> str:
    try:
        return f"{getpass.getuser()}@"
    except (KeyError, OSError):
        return ""
