"""
Fetch the policy file of a domain over HTTPS (RFC 8461 3.3).

Owns: what is asked of the web server, and which answer carries a policy.
Never: keeps a policy, or decides whether one is due; speaks HTTPS (`https.py`).
Fails: `FetchError`, with the reason in words and as TLSRPT counts it (RFC 8460 4.3.2.2); nothing else.
"""

from __future__ import annotations

from typing import Any

from mta.interfaces import IResolver
from mta.sts_policy import StsPolicy
from mta.tls.https import OVERHEAD, PORT, Https
from mta.tls.sts_text import MAX_POLICY, StsTextError, parse_policy
from mta.web import WebAnswer, WebError, WebFault, WebRequest

# RFC 8461 3.3 suggests a minute, for all of it.
TIMEOUT = 60.0
# What the server may send in all.
MAX_RECEIVED = MAX_POLICY + OVERHEAD

# The words of RFC 8460 4.3.2.2 for a policy that could not be had.
FETCH_ERROR = "sts-policy-fetch-error"
INVALID = "sts-policy-invalid"
WEBPKI_INVALID = "sts-webpki-invalid"

_RESULTS = {
    WebFault.NO_ANSWER: FETCH_ERROR,
    WebFault.CERTIFICATE: WEBPKI_INVALID,
    WebFault.TOO_LARGE: INVALID,
}


class FetchError(Exception):
    """There is no policy to be had; `result` is the result type of TLSRPT."""

    def __init__(self, reason: str, result: str = FETCH_ERROR) -> None:
        super().__init__(reason)
        self.result = result


def policy_host(domain: str) -> str:
    """The name of the web server that has the policy of a domain."""
    return f"mta-sts.{domain}"


class StsFetcher:
    """
    Fetches policies; each call is one request on a connection of its own.

    `trust_root` is what `https_connection.trusted` gives; `port` is another than 443 in tests alone.
    """

    def __init__(self, *, reactor: Any, resolver: IResolver, trust_root: Any, port: int = PORT) -> None:
        self._https = Https(reactor=reactor, resolver=resolver, trust_root=trust_root, port=port)

    async def fetch(self, domain: str, id_: str) -> StsPolicy:
        """The policy that `domain` publishes now; `id_` is that of its TXT record. Raises `FetchError`."""
        host = policy_host(domain)

        def accept(begun: WebAnswer) -> None:
            _accept(host, begun)

        # The client follows no redirects, and has no cache: RFC 8461 3.3 forbids both.
        url = f"https://{host}/.well-known/mta-sts.txt"
        request = WebRequest(url, headers=(("Accept", "text/plain"),), limit=MAX_POLICY, timeout=TIMEOUT)
        try:
            answer = await self._https.ask(request, accept)
            return parse_policy(answer.body, id_)
        except WebError as error:
            raise FetchError(str(error), _RESULTS[error.fault]) from None
        except StsTextError as error:
            raise FetchError(f"{host}: {error}", INVALID) from None


def _accept(host: str, begun: WebAnswer) -> None:
    """Whether an answer may carry a policy. Raises `FetchError`."""
    if begun.status != 200:  # RFC 8461 3.3: 3xx is not followed, and nothing but 200 is a policy
        moved = " (redirects are not followed)" if 300 <= begun.status < 400 else ""
        raise FetchError(f"{host} answered {begun.status}{moved}")
    # RFC 8461 3.3: so that who may upload other files to the host can't set a policy.
    if begun.media_type != "text/plain":
        sent = ascii(", ".join(begun.types))[:80]
        raise FetchError(f"{host} sent the content type {sent} where text/plain is due", INVALID)
