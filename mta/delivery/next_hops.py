"""
Which of several next hops of a route rest, because connections to them failed; and what an attempt has made of them.

Owns: the count of failures, the rest that grows, the one probe when it is over; the words for a trace.
Never: connects. What rests is tried after all others, and so never forbidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from mta.destination import Destination, Host, NextHop
from mta.outcome import Deferral, Phase, Scope

# How long a probe that came to no end (its message was taken away) keeps others from probing: as a greeting may take.
PROBE = 300.0
# What is told of a reason: a reply may be as long as a page.
_REASON = 200
_BEFORE_MAIL = frozenset((Phase.DNS, Phase.CONNECT, Phase.GREETING, Phase.HELLO, Phase.AUTH))


@dataclass(slots=True)
class _State:
    failures: int = 0
    wait: float = 0.0  # of the rest; 0 for none
    until: float = 0.0
    probed: float = -inf
    reason: str = ""


class NextHops:
    """
    `failures` in a row have a next hop rest: for `initial` seconds, and after each probe that fails for twice as long,
    up to `longest`. `note` writes a line into the log. Bounded by the configuration, which has the next hops.
    """

    def __init__(
        self, failures: int, initial: float, longest: float, note: Callable[[str, Mapping[str, str]], None]
    ) -> None:
        self._failures = failures
        self._initial = initial
        self._longest = longest
        self._note = note
        self._states: dict[tuple[str, int], _State] = {}

    def why_rested(self, host: Host, now: float) -> str:
        """
        Why others come before it, as the end of a sentence; "" where it is to be tried.

        Behind a rest one caller is told to try, the probe, and the others wait for what comes of it.
        """
        state = self._states.get((host.name, host.port))
        if state is None or not state.wait:
            return ""
        # The lower bounds: a clock set back must not lengthen a rest.
        if state.until - state.wait <= now < state.until:
            return f"rests for {state.until - now:.0f} s more after {state.failures} failures ({state.reason})"
        if state.probed <= now < state.probed + PROBE:
            return f"is being probed after {state.failures} failures ({state.reason})"
        state.probed = now
        return ""

    def concluded(self, host: Host, why: Deferral | None, now: float) -> None:
        """
        It was fit for mail, or `why` not.

        TLS that fails is a matter of what this mail demands, and rejected credentials are one of our own: only what
        speaks of the host counts.
        """
        key = (host.name, host.port)
        if why is None:
            state = self._states.pop(key, None)
            if state is not None and state.wait:
                self._note("next-hop-answers", {"next_hop": _place(host), "failures": str(state.failures)})
        elif why.phase in _BEFORE_MAIL and why.scope is Scope.SITE:
            self._failed(host, self._states.setdefault(key, _State()), why.reason, now)

    def _failed(self, host: Host, state: _State, reason: str, now: float) -> None:
        state.failures += 1
        state.reason = reason[:_REASON]
        if state.until - state.wait <= now < state.until:
            return  # one of those that were under way, or where all others had failed
        if not state.wait and state.failures < self._failures:
            return
        state.wait = min(state.wait * 2 or self._initial, self._longest)
        state.until = now + state.wait
        state.probed = -inf
        told = {"failures": str(state.failures), "seconds": f"{state.wait:.0f}", "reason": state.reason}
        self._note("next-hop-rested", {"next_hop": _place(host), **told})


class Choice:
    """What an attempt makes of the next hops of a route."""

    def __init__(self, destination: Destination) -> None:
        hops = destination.next_hop.each
        self._total = len(hops)
        self._numbers = {(hop.target, hop.port): number for number, hop in enumerate(hops, 1)}
        self._transport = destination.next_hop.transport
        weights = [hop.weight for hop in hops if hop.weight is not None]
        self._sum = sum(weights)
        self._weights = {(hop.target, hop.port): hop.weight for hop in hops}
        self._passed: dict[tuple[str, int], str] = {}
        self._now: Host | None = None

    def passes(self, host: Host, why: str) -> None:
        """It is not the one, or not any more."""
        self._passed[host.name, host.port] = f"{_place(host)} {why[:_REASON]}"
        self._now = None

    def turns_to(self, host: Host) -> None:
        """It is tried."""
        self._passed.pop((host.name, host.port), None)
        self._now = host

    def words(self) -> str:
        """Which one was chosen and why: "smtp://b:25 (2 of 2), for a:25 did not do: ..."."""
        passed = "; ".join(self._passed.values())
        host = self._now
        if host is None:
            return f"none of {self._total}, for {passed}"
        key = (host.name, host.port)
        rank = f"{self._numbers.get(key, 0)} of {self._total}"
        if self._weights.get(key) is not None:
            rank += f", weight {self._weights[key]} of {self._sum}"
        chosen = f"{NextHop(self._transport, host.name, host.port)} ({rank})"
        return f"{chosen}, for {passed}" if passed else chosen


def _place(host: Host) -> str:
    return f"[{host.name}]:{host.port}" if ":" in host.name else f"{host.name}:{host.port}"
