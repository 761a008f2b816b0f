"""Only who has the token may look: it is in the address that the command prints."""

from __future__ import annotations

import secrets
from http import HTTPStatus

from flask import Flask, Response, redirect, request

_PARAMETER = "token"
_REFUSED = (
    "403: this page opens with its token only. Use the whole address that aitom-disca explore "
    "printed when it began.\n"
)


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def protect(server: Flask, token: str, port: int) -> None:
    """Refuse requests without the token, which a cookie holds after the first visit.

    Parameters
    ----------
    server : Flask
    token : str
    port : int
        Part of the cookie's name: cookies do not tell ports apart, servers on one machine do.
    """
    cookie = f"aitom_disca_{port}"

    @server.before_request
    def check() -> Response | None:
        given = request.args.get(_PARAMETER, "")
        if secrets.compare_digest(given.encode(), token.encode()):
            answer = redirect(request.path)  # so that it stays in no history and no referrer
            answer.set_cookie(cookie, token, httponly=True, samesite="Strict")
            return answer  # type: ignore[return-value]
        held = request.cookies.get(cookie, "")
        if secrets.compare_digest(held.encode(), token.encode()):
            return None
        return Response(_REFUSED, HTTPStatus.FORBIDDEN, mimetype="text/plain")

    @server.after_request
    def tell(answer: Response) -> Response:
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["X-Frame-Options"] = "DENY"
        return answer
