"""
Check what the configuration says of TLS, for `mta check`.

Owns: opening certificates, keys and authorities as a start does, and what is told of them, with its place.
Never: imports Twisted, changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mta.config.lines import Location
from mta.config.schema import Config
from mta.tls.configured import files, terms
from mta.tls.contexts import Contexts
from mta.tls.pairs import DAY, Pair, PairError, read


@dataclass(frozen=True, slots=True)
class Findings:
    """What would keep TLS from working, what somebody should look at, each with its place; and a line a certificate."""

    problems: list[tuple[Location, str]] = field(default_factory=list)
    warnings: list[tuple[Location, str]] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)


def look(config: Config, now: float) -> Findings:
    """All there is to tell; `now` in seconds since 1970."""
    found, pairs = Findings(), []
    for number, each in enumerate(files(config)):
        where = ("tls", "certificates", number)
        try:
            pair = read(each)
        except PairError as error:
            found.problems.append((where, str(error)))
            continue
        pairs.append(pair)
        found.certificates.append(_line(pair, now))
        found.warnings.extend((where, warning) for warning in pair.warnings(now))
    if pairs and len(pairs) == len(config.tls.certificates) and not any(pair.is_for(config.hostname) for pair in pairs):
        reason = f"no certificate is for {config.hostname} (hostname): a client that verifies who we are will not send"
        found.warnings.append((("tls", "certificates", 0), reason))
    if config.sts.policy.serve and len(pairs) == len(config.tls.certificates):
        hosts = [f"mta-sts.{domain}" for domain in config.policy_domains]
        if bare := [host for host in hosts if not any(pair.is_for(host) for pair in pairs)]:
            reason = f"no certificate is for {', '.join(bare)}: nobody takes a policy from there"
            found.warnings.append((("sts", "policy", "serve"), reason))
    try:
        wanted = terms(config)
    except PairError as error:
        found.problems.append((("relay", "client_authorities"), str(error).removeprefix("relay.client_authorities: ")))
        return found
    try:
        if pairs:
            Contexts(pairs, wanted)
    except PairError as error:
        found.problems.append((("tls",), str(error).removeprefix("tls: ")))
    return found


def _line(pair: Pair, now: float) -> str:
    names = ", ".join(pair.names) or "no host name"
    return f"{pair.files.certificate}: {pair.kind} for {names}, expires in {(pair.expires - now) / DAY:.0f} days"
