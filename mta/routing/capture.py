"""
Lead all mail to one mailbox, for a system on which nobody outside may get any.

Owns: who is allowed to get mail all the same.
Never: knows where mail would have gone: the router that it stands in front of does.
Fails: never; every address has a route.
"""

from __future__ import annotations

from collections.abc import Sequence

from mta.address import Address
from mta.destination import NextHop, Route, Transport
from mta.routing.patterns import FirstMatch, Pattern
from mta.routing.router import Router


class CapturingRouter:
    """`router` for those whom `allow` matches; all others go to the Maildir `maildir`."""

    def __init__(self, router: Router, maildir: str, allow: Sequence[Pattern]) -> None:
        self._router = router
        self._allowed = FirstMatch([tuple(allow)])
        self._captured = Route(NextHop(Transport.CAPTURE, maildir), "capture")

    def route(self, address: Address) -> Route:
        """The route of a recipient."""
        if self._allowed.for_domain(address.domain) is not None or self._allowed.for_address(address) is not None:
            return self._router.route(address)
        return self._captured
