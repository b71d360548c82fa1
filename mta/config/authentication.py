"""
Options of who logs in: the table [auth].

Owns: who knows the users, the mechanisms, what a user may send as and how much, what happens to who guesses.
Never: compares one option with another (`mta/config/consistency.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from mta.address import AddressError, parse_address, parse_domain
from mta.config.fields import BelowState, Count, Duration, FrozenTable, OptionalCount, OptionalPath, PositiveDuration
from mta.config.oauth import OAuth
from mta.config.option import Table, option
from mta.policy.directory import folded

# Those that a token is shown with.
TOKENS = ("OAUTHBEARER", "XOAUTH2")
MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", *TOKENS, "PLAIN", "LOGIN")


def sender_pattern(text: str) -> str:
    """What a user may send as: "alice@example.org", "@example.org", "*". Raises ValueError."""
    try:
        if text == "*":
            return text
        if text.startswith("@"):
            return f"@{parse_domain(text[1:], utf8=True)}"
        return str(parse_address(text, utf8=True))
    except AddressError as error:
        raise ValueError(f'"{text}": {error}') from None


def _mechanism(text: str) -> str:
    name = text.upper()
    if name not in MECHANISMS:
        raise ValueError(f'"{text}" is not a mechanism; {", ".join(MECHANISMS)} are')
    return name


def _folded_keys(table: dict[str, tuple[str, ...]]) -> FrozenTable[tuple[str, ...]]:
    return FrozenTable({folded(user): senders for user, senders in table.items()})


def _function(text: str) -> str:
    module, colon, name = text.partition(":")
    if text and not (colon and name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ValueError(f'"{text}" is not MODULE:FUNCTION')
    return text


Senders = Annotated[dict[str, tuple[Annotated[str, AfterValidator(sender_pattern)], ...]], AfterValidator(_folded_keys)]


class Auth(Table):
    """Who logs in to send mail (AUTH, RFC 4954); offered under TLS, and by listeners of role submission."""

    backend: Literal["none", "file", "dovecot", "function"] = option(
        "none",
        'Who knows the users: "file" is auth.users, "dovecot" the auth service of a Dovecot, "function" a function of'
        ' yours, "none": nobody logs in.',
        unit='"none", "file", "dovecot", "function"',
        source="nobody until named",
    )
    users: BelowState = option(
        "users", "The file of users, below state_dir; `mta user` writes it.", unit="path", source="beside the spool"
    )
    dovecot: OptionalPath = option(
        "/run/dovecot/auth-client", "The socket of Dovecot's auth service.", unit="path", source="Dovecot's own default"
    )
    function: Annotated[str, AfterValidator(_function)] = option(
        "",
        'The function to ask, as "module:function"; it is called with user, password and the client\'s address.',
        unit="text",
        source="none",
    )
    mechanisms: tuple[Annotated[str, AfterValidator(_mechanism)], ...] = option(
        MECHANISMS,
        "The mechanisms that are offered, as far as they can be: SCRAM needs the keys in the file of users, OAUTHBEARER"
        " and XOAUTH2 need auth.oauth.",
        unit="list of mechanisms",
        source="RFC 7677, RFC 7628, RFC 4616; LOGIN for old mail programs",
    )
    senders: Senders = option(
        {},
        'What users may send as, beside their own names and what the file of users has: alice = ["sales@example.org",'
        ' "@example.net"], "*" for any address.',
        unit="table of lists of addresses",
        source="Postfix smtpd_sender_login_maps, empty",
    )
    failures: Count = option(
        10,
        "How often a client may fail within auth.failure_period before it is told 454 and no password is looked at;"
        " clients in relay.networks excepted.",
        unit="count",
        source="mox, 10 a minute; fail2ban, 5 in 10 minutes",
    )
    failure_period: PositiveDuration = option(
        "10m", "How long failures count; then the block releases.", unit="duration", source="fail2ban findtime"
    )
    failure_delay: Duration = option(
        "1s",
        "How long the reply to the first failure of a connection is held back; each further one twice as long, up to"
        " 16 times.",
        unit="duration",
        source="Dovecot auth_failure_delay is 2 s",
    )
    messages_per_hour: OptionalCount = option(
        0, "How many messages a user may send in an hour; 0 for any number.", unit="count per hour", source="no limit"
    )
    messages_per_day: OptionalCount = option(
        0, "How many messages a user may send in a day; 0 for any number.", unit="count per day", source="no limit"
    )
    recipients_per_hour: OptionalCount = option(
        0, "How many recipients a user may name in an hour; 0 for any number.", unit="count per hour", source="no limit"
    )
    recipients_per_day: OptionalCount = option(
        0, "How many recipients a user may name in a day; 0 for any number.", unit="count per day", source="no limit"
    )
    hide_submitter: bool = option(
        False,
        "Whether the Received field of mail from a user leaves out the address and the name of the user's machine.",
        unit="true, false",
        source="RFC 5321 4.4 wants both",
    )
    oauth: OAuth = option({})
