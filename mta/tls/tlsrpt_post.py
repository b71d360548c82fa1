"""
Hand a report on TLS to a web server (RFC 8460 5.4).

Owns: the request, and which answers are a yes.
Never: decides when, or whether again.
Fails: `WebError`, with the reason in words.
"""

from __future__ import annotations

from mta.tls.https import Https
from mta.tls.tlsrpt_text import Web
from mta.web import WebAnswer, WebError, WebRequest

TIMEOUT = 60.0


async def post(web: Https, place: Web, report: bytes) -> None:
    """Post a report in gzip form. Raises `WebError` where the server did not take it."""
    taken = False

    def accept(begun: WebAnswer) -> None:
        nonlocal taken
        # RFC 8460 5.4: "typically a 200 or 201"; a redirect is no receipt.
        taken = 200 <= begun.status <= 299
        if not taken:
            raise WebError(f"{place.host} answered {begun.status}")

    headers = (("Content-Type", "application/tlsrpt+gzip"),)
    try:
        await web.ask(WebRequest(place.url, "POST", headers, report, timeout=TIMEOUT), accept)
    except WebError:
        if not taken:  # what stands behind a yes is of no interest
            raise
