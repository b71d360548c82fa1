"""
The scenario of a simulation: a world, what happens in it, and the mail that is sent.

Owns: the keys of a scenario's file, each declared once, as those of the configuration are.
Never: reads a file (`mta/sim/loading.py`) or makes anything happen (`mta/sim/simulation.py`).

Times in it are counted from the start of the simulation.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mta.config.fields import Count, Domain, Duration, Name, OptionalCount, OptionalIP, PositiveDuration, Size
from mta.config.option import REQUIRED, Table, option

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Place = Literal["greeting", "hello", "mail", "rcpt", "data", "end-of-data"]
PLACES: tuple[Place, ...] = ("greeting", "hello", "mail", "rcpt", "data", "end-of-data")
Text = Annotated[str, Field(min_length=1, max_length=500)]
_REPLY = re.compile(r"[2-5][0-5][0-9]( [ -~]*)?")


def _reply(text: str) -> str:
    """A reply of one line (RFC 5321 4.2)."""
    if not _REPLY.fullmatch(text):
        raise ValueError(f'"{text}" is not a reply; write it as "450 4.2.0 try again later"')
    return text


Reply = Annotated[str, AfterValidator(_reply)]


class Answer(Table):
    """A reply that a site gives in the place of a good one."""

    at: Place = option(REQUIRED, "Where in a transaction.", unit="phase", sample="rcpt")
    reply: Reply = option(REQUIRED, "The whole reply.", unit="text", sample="450 4.2.0 try again later")
    share: Share = option(1.0, "To which share of those who ask, by chance.", unit="0.0 to 1.0", source="everyone")
    recipients: str = option(
        "*", 'Only for recipients like this; "*" stands for any text.', unit="pattern", source="everyone"
    )


class Behaviour(Table):
    """How a site behaves; what is not named is as with a healthy one."""

    state: Literal["up", "down", "refusing"] = option(
        "up",
        'Whether it can be reached: "down" answers nothing at all, "refusing" refuses connections.',
        unit='"up", "down", "refusing"',
        source="healthy",
    )
    answers: tuple[Answer, ...] = option((), alias="answer")
    stalls_at: Place | Literal["never"] = option(
        "never", "Where it stops answering, for ever.", unit="phase", source="healthy"
    )
    breaks_at: Place | Literal["never"] = option(
        "never", "Where it closes the connection without a word.", unit="phase", source="healthy"
    )
    breaks_share: Share = option(1.0, "How often it does.", unit="0.0 to 1.0", source="always")
    drops_after_dot: Share = option(
        0.0,
        "How often it takes a message and closes without a word, so that we can't know.",
        unit="0.0 to 1.0",
        source="healthy",
    )
    garbled: Share = option(0.0, "How often a reply of several lines is broken.", unit="0.0 to 1.0", source="healthy")
    reply_delay: Duration = option("0s", "How long each reply takes.", unit="duration", source="healthy")
    greylist: Duration = option(
        "0s", "For how long it defers a recipient that it sees for the first time.", unit="duration", source="off"
    )
    connections: OptionalCount = option(
        0, "How many connections it takes at once; others are told 421.", unit="count", source="any number"
    )
    messages_per_minute: OptionalCount = option(
        0, "How many messages it takes in a minute; others are told 421.", unit="count", source="any number"
    )


class Spell(Behaviour):
    """A time in which the site behaves as it says here, and not as usual."""

    begin: Duration = option(REQUIRED, "When it begins.", unit="duration", alias="from", sample="1h")
    end: Duration = option(REQUIRED, "When it ends.", unit="duration", alias="to", sample="3d")


class Site(Behaviour):
    """A remote mail site: some hosts that take mail for some domains."""

    name: Name = option(REQUIRED, "Its name in the report.", unit="text", sample="partner")
    domains: tuple[Domain, ...] = option(
        (), "The domains whose MX records name its hosts.", unit="list of domains", source="none"
    )
    hosts: Annotated[int, Field(ge=1, le=20)] = option(1, "How many hosts it has.", unit="count", source="one")
    endpoints: tuple[str, ...] = option(
        (),
        'Where else it listens, as routes name it: "127.0.0.1:2501", "relay.example.net:25".',
        unit="list of HOST:PORT",
        source="its own addresses",
    )
    spells: tuple[Spell, ...] = option((), alias="spell")


class Load(Table):
    """Mail that somebody sends through us."""

    begin: Duration = option("0s", "When the first message is sent.", unit="duration", alias="from", source="at once")
    end: Duration = option(
        "0s", "When the last one is; earlier than `from`: all at once.", unit="duration", alias="to", source="a burst"
    )
    messages: Count = option(REQUIRED, "How many messages, spread evenly.", unit="count", sample=1000)
    sender: str = option(
        "sender@load.test",
        'The reverse-path; "" is the null reverse-path, {n} the number of the message.',
        unit="address",
        source="a domain whose mail is taken",
    )
    recipients: Annotated[tuple[Text, ...], Field(min_length=1)] = option(
        REQUIRED,
        "Whom it goes to: one or some of these, in turn; {n} is the number of the message.",
        unit="list of addresses",
        sample=("user{n}@partner.test",),
    )
    recipients_per_message: Annotated[int, Field(ge=1, le=1000)] = option(
        1, "How many of them each message has.", unit="count", source="one"
    )
    size: Size = option("4KiB", "How large each message is.", unit="size", source="Postfix's smtp-source tests")
    size_to: Size = option("0", "Up to which size, by chance; 0 for all the same.", unit="size", source="the same")
    sessions: Annotated[int, Field(ge=1, le=1000)] = option(
        10, "How many connections the client uses at most.", unit="count", source="a busy client"
    )
    listener: str = option("", "Which listener it is sent to.", unit="text", source="the first one")
    client: OptionalIP = option(
        "127.0.0.1", "The IP address of the client.", unit="address", source="a client that may relay"
    )
    patience: PositiveDuration = option(
        "60s", "After how long the client tries again what was refused for now.", unit="duration", source="an MTA"
    )


class Fault(Table):
    """Trouble of our own."""

    kind: Literal["crash", "disk-full", "resolver"] = option(
        REQUIRED,
        'What happens: "crash" kills the daemon, which is started again at `to`; "disk-full" leaves no page to write;'
        ' "resolver" has every question of the DNS fail.',
        unit='"crash", "disk-full", "resolver"',
        sample="crash",
    )
    begin: Duration = option(REQUIRED, "When it begins.", unit="duration", alias="from", sample="1h")
    end: Duration = option(REQUIRED, "When it is over.", unit="duration", alias="to", sample="65m")
    at_step: OptionalCount = option(
        0,
        "Of a crash: not at `from` but before this step of the program after it; a step is one call of its reactor.",
        unit="count",
        source="at the time alone",
    )
    at_commit: OptionalCount = option(
        0,
        "Of a crash: not at `from` but in the middle of this transaction of the spool after it.",
        unit="count",
        source="at the time alone",
    )
    on_disk: bool = option(
        True,
        "Whether that transaction is on disk by then, though nobody has heard of it; else it is lost.",
        unit="true, false",
        source="what must never be answered too early",
    )


class Names(Table):
    """What the DNS says of domains that no site has."""

    others: Literal["up", "nxdomain"] = option(
        "up",
        'Whether any other domain has a healthy site of its own ("up") or does not exist ("nxdomain").',
        unit='"up", "nxdomain"',
        source="the Internet works",
    )
    nxdomain: tuple[Domain, ...] = option((), "Domains that do not exist.", unit="list of domains", source="none")
    null_mx: tuple[Domain, ...] = option(
        (), "Domains that take no mail (RFC 7505).", unit="list of domains", source="none"
    )
    failing: tuple[Domain, ...] = option((), "Domains whose servers fail.", unit="list of domains", source="none")


class Scenario(Table):
    """The whole file."""

    about: str = option("", "What it shows, in a sentence.", unit="text", source="nothing")
    duration: PositiveDuration = option(REQUIRED, "How long the simulation is.", unit="duration", sample="5d")
    seed: Annotated[int, Field(ge=0)] = option(
        1, "The seed of all chance: the same one gives the same run.", unit="number", source="any"
    )
    cuts: bool = option(
        False, "Whether the network cuts what is sent at random places.", unit="true, false", source="it rarely matters"
    )
    names: Names = option({})
    sites: tuple[Site, ...] = option((), alias="site")
    loads: tuple[Load, ...] = option((), alias="load")
    faults: tuple[Fault, ...] = option((), alias="fault")
