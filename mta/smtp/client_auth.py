"""
AUTH as a client: which mechanism, and what is said in it.

Owns: the choice of the mechanism, and PLAIN (RFC 4616) and LOGIN (an old habit of servers).
Never: decides whether the connection has to be encrypted (`mta/routing/tls_policies.py`); knows the commands and
replies around the messages of a mechanism (`mta/smtp/client_opening.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from mta.login import LOGIN, OAUTHBEARER, PLAIN, SCRAM, SCRAM_PLUS, XOAUTH2, Login
from mta.smtp.client_oauth import Bearer
from mta.smtp.client_scram import ClientScram
from mta.smtp.exchange import Exchange, ExchangeError


@dataclass(frozen=True, slots=True)
class Channel:
    """
    What a mechanism has to know of its connection.

    `binding` is what both ends of TLS know and nobody else does (tls-exporter, RFC 9266), None where there is none;
    `may_tell` whether a secret may be told as it is; `nonce` what no connection had before.
    """

    binding: bytes | None = field(default=None, repr=False)
    may_tell: bool = True
    nonce: str = ""


class Plain:
    mechanism = PLAIN
    is_complete = True
    told = ""

    def __init__(self, login: Login) -> None:
        self._login = login

    def initial(self) -> bytes:
        return f"\0{self._login.user}\0{self._login.password}".encode()

    def respond(self, challenge: str) -> bytes:
        raise ExchangeError(f"a challenge when all is said: {challenge}")


class LoginMechanism:
    """What its challenges say ("Username:", "User Name", nothing at all) is up to the server: their order counts."""

    mechanism = LOGIN
    told = ""

    def __init__(self, login: Login) -> None:
        self._unsaid = [login.password, login.user]

    @property
    def is_complete(self) -> bool:
        return not self._unsaid

    def initial(self) -> None:
        return None

    def respond(self, challenge: str) -> bytes:
        if not self._unsaid:
            raise ExchangeError(f"a challenge when all is said: {challenge}")
        return self._unsaid.pop().encode()


def exchange_for(login: Login, offered: Collection[str], channel: Channel) -> Exchange | None:
    """The strongest mechanism that the login allows, the server offers and the connection is fit for, or None."""
    wanted = [name for name in login.mechanisms if name in offered]
    if login.token:
        named = next((name for name in (OAUTHBEARER, XOAUTH2) if name in wanted), None)
        return Bearer(login, named) if named and channel.may_tell else None
    if SCRAM_PLUS in wanted and channel.binding is not None:
        return ClientScram(login, channel.nonce, binding=channel.binding, plus=True)
    if SCRAM in wanted:
        # RFC 5802 6: we could bind the channel and were not told that the server can. If it says to have told us,
        # somebody between us took the word away.
        unoffered = SCRAM_PLUS in login.mechanisms and SCRAM_PLUS not in offered
        return ClientScram(login, channel.nonce, binding=channel.binding if unoffered else None)
    if PLAIN in wanted and channel.may_tell:
        return Plain(login)
    if LOGIN in wanted and channel.may_tell:
        return LoginMechanism(login)
    return None
