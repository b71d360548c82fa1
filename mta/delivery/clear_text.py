"""
Which servers are spoken to in clear for a day, because TLS with them failed.

Owns: that memory, and why each is in it.
Never: allows it; it counts where the policy is `may`, and nowhere else.
"""

from __future__ import annotations

from collections import OrderedDict

SECONDS = 86_400.0
# Servers remembered; the oldest goes first, and is tried with TLS again.
MAX_SERVERS = 10_000


class ClearText:
    """The servers by address and port."""

    def __init__(self) -> None:
        self._failed: OrderedDict[tuple[str, int], tuple[float, str]] = OrderedDict()  # when, and why

    def why(self, address: str, port: int, now: float) -> str:
        """Why TLS is not tried with it, "" where it is; `now` in seconds."""
        if not self._failed:
            return ""
        since, reason = self._failed.get((address, port), (now - SECONDS, ""))
        # The lower bound: a clock set back must not lengthen the day.
        return reason if since <= now < since + SECONDS else ""

    def failed(self, address: str, port: int, reason: str, now: float) -> None:
        """TLS with it failed for this reason, or it took its offer back."""
        self._failed.pop((address, port), None)
        self._failed[address, port] = (now, reason)
        if len(self._failed) > MAX_SERVERS:
            self._failed.popitem(last=False)
