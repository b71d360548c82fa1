"""
The worlds of the swarm: from a seed to a configuration and a scenario.

Owns: the classes of worlds, and what chance decides in each of them.
Never: runs one. Each part of a world is a table as TOML has it, so that a finding can be written down and shrunk.

A new class is a function in `CLASSES`; a seed's class is its remainder, so that every run has some of each.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Data = dict[str, Any]

LOCAL, RELAYED = "local.test", "relayed.test"
PLACES = ("greeting", "hello", "mail", "rcpt", "data", "end-of-data")
# Seconds: mail comes within the first of these, sites recover within the second, and all is over after the third.
_LOAD, _TROUBLE, _DURATION = 1800, 3 * 3600, 8 * 3600


@dataclass(frozen=True, slots=True)
class World:
    """A configuration and a scenario, as TOML has them."""

    name: str
    config: Data
    scenario: Data


class Builder:
    """A world in the making: `rng` decides, and each method adds something to it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.sites: list[Data] = []
        self.loads: list[Data] = []
        self.faults: list[Data] = []
        self.names: Data = {}
        self.bounce: Data = {}
        self.domains: list[str] = []

    # Sites

    def site(self, **behaviour: Any) -> Data:
        """One more site, with one to three domains; it behaves like `behaviour`."""
        rng, number = self.rng, len(self.sites) + 1
        domains = [f"d{each}.site{number}.test" for each in range(rng.randint(1, 3))]
        site = {"name": f"site{number}", "domains": domains, "hosts": rng.choice((1, 1, 2, 3)), **behaviour}
        self.sites.append(site)
        self.domains += domains
        return site

    def healthy(self) -> None:
        """Sites that take everything: a named one, or domains of the rest of the world."""
        if self.rng.random() < 0.5:
            self.site()
        self.domains += [f"calm{each}.test" for each in range(self.rng.randint(1, 3))]

    def flaky(self) -> None:
        """A site with bad hours: it refuses, defers, breaks off or is not there."""
        rng = self.rng
        site = self.site()
        site["spell"] = [self._spell(self._trouble()) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.5:
            site.update(self._trouble(0.3))

    def _spell(self, behaviour: Data) -> Data:
        begin = self.rng.randrange(_LOAD)
        end = self.rng.randrange(begin + 60, _TROUBLE)
        return {"from": seconds(begin), "to": seconds(end), **behaviour}

    def _trouble(self, share: float | None = None) -> Data:
        rng = self.rng
        share = share or rng.choice((0.2, 0.5, 1.0))
        place = rng.choice(PLACES)
        kind = rng.choice(("down", "refusing", "4xx", "5xx", "breaks", "slow"))
        if kind in ("down", "refusing") and share == 1.0:
            return {"state": kind}
        if kind == "breaks":
            return {"breaks_at": place, "breaks_share": share}
        if kind == "slow":
            return {"reply_delay": seconds(rng.choice((1, 7, 40)))}
        code = rng.choice(("450 4.2.0", "451", "452 4.2.2", "421 4.3.2"))
        if kind == "5xx":
            code = rng.choice(("550 5.1.1", "554", "552 5.2.2", "553 5.7.1"))
        return {"answer": [{"at": place, "reply": f"{code} not {place}", "share": share}]}

    def lying(self) -> None:
        """A site that can't be trusted: silence after the dot, replies that have no place, broken ones, stalls."""
        rng = self.rng
        kind = rng.choice(("drops", "drops", "misplaced", "garbled", "stalls", "picky"))
        if kind == "drops":
            self.site(drops_after_dot=rng.choice((0.2, 0.5)), breaks_at="end-of-data", breaks_share=0.2)
        elif kind == "misplaced":
            reply = rng.choice(("250 2.0.0 as you like", "354 go on", "220 hello", "550 5.7.1 no", "251 2.1.5 moved"))
            self.site(answer=[{"at": rng.choice(PLACES), "reply": reply, "share": rng.choice((0.3, 0.6))}])
        elif kind == "garbled":
            self.site(garbled=0.5)
        elif kind == "stalls":
            self.site(spell=[self._spell({"stalls_at": rng.choice(PLACES)})])
        else:  # it knows some of its users only, so that recipients of one message fare differently
            self.picky()

    def picky(self) -> None:
        """A site that refuses some recipients and defers others."""
        answers = [
            {"at": "rcpt", "reply": "550 5.1.1 no such user", "recipients": "*[1357]@*"},
            {"at": "rcpt", "reply": "452 4.2.2 mailbox full", "recipients": "*[26]@*", "share": 0.7},
        ]
        self.site(answer=self.rng.sample(answers, self.rng.randint(1, 2)))

    def limiting(self) -> None:
        """A site with a greylist or limits."""
        rng = self.rng
        kinds: list[Data] = [
            {"greylist": seconds(rng.choice((60, 300, 900)))},
            {"connections": rng.randint(1, 3)},
            {"messages_per_minute": rng.randint(1, 10)},
        ]
        behaviour: Data = {}
        for kind in rng.sample(kinds, rng.randint(1, 3)):
            behaviour.update(kind)
        self.site(**behaviour)

    def nowhere(self) -> None:
        """Domains that do not exist, take no mail, or can't be asked for."""
        self.names = {"nxdomain": ["missing.test"], "null_mx": ["nomail.test"], "failing": ["broken.test"]}
        self.domains += ["missing.test", "nomail.test", "broken.test"]

    def local(self) -> None:
        """Mailboxes of our own."""
        self.domains += [LOCAL, LOCAL]

    # Loads

    def load(self, messages: int = 0, **more: Any) -> Data:
        """Mail for some of the domains so far."""
        rng, number = self.rng, len(self.loads) + 1
        begin = rng.randrange(_LOAD)
        wanted = rng.sample(self.domains, rng.randint(1, min(5, len(self.domains))))
        load = {
            "from": seconds(begin),
            "to": seconds(rng.choice((begin, rng.randrange(begin, _LOAD + 1)))),
            "messages": messages or rng.randint(3, 25),
            "sender": f"s{{n}}.{number}@origin{number}.test",
            "recipients": [
                f"u{number}.{{n}}@{domain}" if domain != LOCAL else f"user{{n}}@{LOCAL}" for domain in wanted
            ],
            "recipients_per_message": rng.choice((1, 1, 2, 5, 12)),
            "size": rng.choice((300, 2000)),
            "size_to": rng.choice((0, 6000, 70_000)),
            "sessions": rng.choice((1, 3, 10)),
            **more,
        }
        self.loads.append(load)
        return load

    def large(self) -> Data:
        """A few messages of several chunks."""
        return self.load(messages=self.rng.randint(2, 5), size=300_000, size_to=900_000, recipients_per_message=1)

    def without_sender(self) -> None:
        """Reports of others: what fails of them must not be reported."""
        self.load(sender="")

    def strange(self) -> None:
        """Clients that may not relay try, in several spellings."""
        rng = self.rng
        spellings = [
            "u{n}@elsewhere.test",
            "u{n}%elsewhere.test@relayed.test",
            "u{n}%elsewhere.test@local.test",
            "elsewhere.test!u{n}@relayed.test",
            '"u{n}@elsewhere.test"@relayed.test',
            "u{n}@ELSEWHERE.test",
            "u{n}@notrelayed.test",
            "u{n}@under.test",
        ]
        ours = ["u{n}@relayed.test", "u{n}@sub.under.test", "user{n}@local.test"]
        self.load(
            client=rng.choice(("192.0.2.7", "203.0.113.9")),
            recipients=rng.sample(spellings, rng.randint(2, 6)) + rng.sample(ours, rng.randint(1, 3)),
        )

    # Faults

    def crashes(self, most: int) -> None:
        """Crashes, most of them in the middle of something."""
        rng = self.rng
        for _ in range(rng.randint(1, most)):
            begin = rng.randrange(_TROUBLE if rng.random() < 0.4 else _LOAD)
            if self.loads and rng.random() < 0.8:  # while mail comes
                load = rng.choice(self.loads)
                begin = rng.randint(int(load["from"][:-1]), int(load["to"][:-1]))
            fault: Data = {"kind": "crash", "from": seconds(begin), "to": seconds(begin + rng.choice((1, 5, 60, 900)))}
            kind = rng.random()
            if kind < 0.4:
                fault["at_step"] = int(rng.triangular(1, 1200, 1))
            elif kind < 0.9:
                fault.update(at_commit=int(rng.triangular(1, 30, 1)), on_disk=rng.random() < 0.5)
            self.faults.append(fault)

    def fault(self, kind: str) -> None:
        """One to two windows of trouble, one of them while mail comes."""
        rng = self.rng
        for latest in (_LOAD, _TROUBLE)[: rng.randint(1, 2)]:
            begin = rng.randrange(latest)
            end = begin + int(rng.triangular(5, 3600, 60))
            self.faults.append({"kind": kind, "from": seconds(begin), "to": seconds(end)})

    def hiccups(self) -> None:
        """The disk is full for an instant, in the middle of a message of several chunks."""
        rng = self.rng
        load = self.large()
        load["to"] = load["from"]
        end = int(load["from"][:-1]) * 1000 + 40  # where its first messages begin to flow
        for _ in range(rng.randint(2, 8)):
            begin = end + rng.randint(20, 80)
            end = begin + rng.choice((10, 20, 40))
            self.faults.append({"kind": "disk-full", "from": f"{begin}ms", "to": f"{end}ms"})

    # All of it

    def world(self, name: str) -> World:
        """What has come together."""
        rng = self.rng
        scenario: Data = {
            "about": f"a world of the swarm: {name}",
            "duration": seconds(_DURATION),
            "seed": rng.randrange(1 << 30),
            "cuts": rng.random() < 0.5,
        }
        parts = {"names": self.names, "site": self.sites, "load": self.loads, "fault": self.faults}
        scenario.update({key: part for key, part in parts.items() if part})
        return World(name, self._config(), scenario)

    def _config(self) -> Data:
        rng = self.rng
        initial = rng.choice((1, 2, 5))
        config: Data = {
            "hostname": "mx.swarm.test",
            "listener": [{"name": "relay", "endpoint": "tcp:2525", "role": "mx"}],
            "relay": {"domains": [RELAYED, ".under.test"]},
            "local": {"domains": [LOCAL], "users": ["*"]},
            "queue": {
                "retry": rng.choice((["1m", "2m", "5m", "10m"], ["5m", "10m", "15m", "30m", "1h"], ["30s"])),
                "lifetime": rng.choice(("1h", "2h", "5h")),
                "bounce_lifetime": rng.choice(("30m", "90m")),
                "delay_notice": rng.choice(("0s", "20m", "1h")),
                "site_connections_initial": initial,
                "site_connections": initial * rng.choice((1, 2, 4)),
                "dead_maximum": rng.choice(("5m", "1h")),
            },
            "client": {
                "recipients_per_transaction": rng.choice((2, 50)),
                "in_doubt": "hold" if rng.random() < 0.15 else "retry",
            },
        }
        if self.bounce:
            config["bounce"] = self.bounce
        return config


def seconds(number: int) -> str:
    """A duration as TOML has it."""
    return f"{number}s"


# -- The classes


def _calm(world: Builder) -> None:
    world.healthy()
    world.local()
    world.load()
    world.load()
    world.large()


def _flaky(world: Builder) -> None:
    world.healthy()
    world.flaky()
    world.flaky()
    world.load()
    world.load()


def _lying(world: Builder) -> None:
    world.lying()
    world.lying()
    world.picky()
    world.healthy()
    world.load()
    world.load()


def _limits(world: Builder) -> None:
    world.limiting()
    world.limiting()
    world.healthy()
    world.load(messages=world.rng.randint(20, 60))
    world.load()


def _crashes(world: Builder) -> None:
    world.healthy()
    world.picky()
    world.local()
    if world.rng.random() < 0.5:
        world.flaky()
    world.load()
    world.load()
    if world.rng.random() < 0.5:
        world.large()
    world.crashes(5)


def _disk(world: Builder) -> None:
    world.healthy()
    world.picky()
    world.local()
    world.load()
    world.load()
    if world.rng.random() < 0.5:
        world.large()
        world.fault("disk-full")
    else:
        world.hiccups()


def _resolver(world: Builder) -> None:
    world.healthy()
    world.nowhere()
    world.load()
    world.load()
    world.fault("resolver")


def _strangers(world: Builder) -> None:
    world.healthy()
    world.strange()
    world.strange()
    world.load()


def _bounces(world: Builder) -> None:
    world.nowhere()
    world.picky()
    world.load(sender="s{n}@missing.test")
    world.load(sender="s{n}1@d0.site1.test")  # which site1 refuses: the report fails, too
    world.without_sender()
    if world.rng.random() < 0.3:
        world.bounce = {"double_bounce": "postmaster@local.test"}
    if world.rng.random() < 0.8:
        world.crashes(3)


def _local(world: Builder) -> None:
    world.local()
    world.load(recipients=[f"user{{n}}@{LOCAL}", f"User{{n}}@{LOCAL}"])
    world.large()
    world.crashes(3)
    if world.rng.random() < 0.3:
        world.fault("disk-full")


def _everything(world: Builder) -> None:
    world.healthy()
    world.local()
    world.nowhere()
    for add in world.rng.sample((world.flaky, world.lying, world.picky, world.limiting), 3):
        add()
    world.load()
    world.load()
    for more in world.rng.sample((world.large, world.without_sender, world.strange), 1):
        more()
    world.crashes(3)
    for kind in world.rng.sample(("disk-full", "resolver"), world.rng.randint(1, 2)):
        world.fault(kind)


CLASSES: dict[str, Callable[[Builder], None]] = {
    "calm": _calm,
    "flaky peers": _flaky,
    "lying peers": _lying,
    "limits": _limits,
    "crashes": _crashes,
    "disk full": _disk,
    "resolver": _resolver,
    "strangers": _strangers,
    "bounces": _bounces,
    "local": _local,
    "everything": _everything,
}


def world_of(seed: int) -> World:
    """The world of a seed, always the same."""
    names = list(CLASSES)
    name = names[seed % len(names)]
    builder = Builder(random.Random(seed))
    CLASSES[name](builder)
    return builder.world(name)
