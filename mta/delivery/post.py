"""
Deliver to web servers by POST.

Owns: the body and the header fields of a request, what an answer means.
Never: speaks HTTP (`IWebClient`); follows a redirect.
Fails: never for a server. Only a 4xx of it is permanent: it speaks of the request.

A server that took a message and could not say so gets it again, with the same webhook-id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.address import Address
from mta.delivery.content import ContentReader
from mta.delivery.exit_status import quoted
from mta.delivery.group_store import RunInThread
from mta.entry import Delivery
from mta.envelope import Recipient, RequireTls
from mta.ids import spell
from mta.interfaces import IDeliveryAgent, IWebClient
from mta.message.parts import parts_of
from mta.outcome import Deferral, Delivered, Failure, Outcome, Phase, Scope, judge_exception
from mta.routing.web_address import is_loopback, server_of
from mta.web import WebAnswer, WebError, WebFault, WebRequest
from mta.webhook import signed

# RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4: the request may come again. 401 and 407 speak of who we are.
_PASSING = frozenset((401, 407, 408, 425, 429))
# RFC 6585 4, RFC 9110 15.6.4: the server says that it has enough for now.
_BUSY = frozenset((429, 503))
# What of an answer is read: its words for people.
ANSWER_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Hook:
    """How one URL is spoken to: times in seconds, sizes in octets; `keys` sign, the first is the current one."""

    form: Literal["raw", "json"] = "raw"
    keys: tuple[bytes, ...] = ()
    timeout: float = 60.0
    message_size: int = 25 * 1024 * 1024


_USUAL = Hook()


@implementer(IDeliveryAgent)
class PostAgent:
    """A request for each recipient. `hooks` by the text of the next hop; those that are not there are as usual."""

    def __init__(
        self, hooks: Mapping[str, Hook], *, web: IWebClient | None, clock: IReactorTime, run_in_thread: RunInThread
    ) -> None:
        self._hooks = hooks
        self._web = web
        self._clock = clock
        self._run_in_thread = run_in_thread

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        return Deferred.fromCoroutine(self._deliver(delivery))

    def stop(self) -> Deferred[None]:
        return succeed(None)

    async def _deliver(self, delivery: Delivery) -> Mapping[Address, Outcome]:
        next_hop = delivery.destination.next_hop
        host = f"{next_hop.transport.value}://{server_of(next_hop.target)}"
        hook = self._hooks.get(str(next_hop), _USUAL)
        everybody = delivery.recipients
        if self._web is None:
            reason = "there is no client for web servers"
            return dict.fromkeys(everybody, Deferral(reason, Phase.ROUTE, Scope.OURSELVES, host, enhanced="4.3.5"))
        is_clear = host.startswith("http:") and not is_loopback(next_hop.target)
        if is_clear and delivery.envelope.require_tls is RequireTls.YES:  # RFC 8689 5
            reason = f"{host} takes no TLS, and the sender requires it"
            return dict.fromkeys(everybody, Failure(reason, Phase.ROUTE, host, enhanced="5.7.30"))
        if delivery.content.size > hook.message_size:
            reason = f"the message has {delivery.content.size} octets, {host} takes {hook.message_size} at most"
            return dict.fromkeys(everybody, Failure(reason, Phase.ROUTE, host, enhanced="5.3.4"))
        try:
            content = delivery.content.whole()
            if content is None:
                reader, pieces = ContentReader(delivery.content), []
                while piece := await reader.next_chunk():
                    pieces.append(piece)
                content = b"".join(pieces)
            parts = await self._run_in_thread(lambda: parts_of(content)) if hook.form == "json" else None
        except CancelledError:
            raise
        except Exception as error:
            return dict.fromkeys(everybody, judge_exception(error, Phase.CONTENT, host))
        url = str(next_hop)
        recipients = delivery.envelope.recipients
        return {
            each.address: await self._outcome(self._web, delivery, each, hook, url, host, content, parts)
            for each in recipients
        }

    async def _outcome(
        self,
        web: IWebClient,
        delivery: Delivery,
        recipient: Recipient,
        hook: Hook,
        url: str,
        host: str,
        content: bytes,
        parts: Mapping[str, object] | None,
    ) -> Outcome:
        identity = f"msg_{spell(delivery.message)}_{sha256(str(recipient.address).encode()).hexdigest()[:16]}"
        now = int(self._clock.seconds())

        def request() -> WebRequest:
            fields, body = _raw(delivery, recipient, content) if parts is None else _json(delivery, recipient, parts)
            fields += signed(identity, now, body, hook.keys)
            return WebRequest(url, "POST", fields, body, ANSWER_LIMIT, hook.timeout)

        try:
            # A large message takes its time to be hashed and spelled.
            answer = await web.ask(await self._run_in_thread(request))
        except CancelledError:
            raise
        except WebError as error:
            scope = Scope.MESSAGE if error.fault is WebFault.TOO_LARGE else Scope.SITE
            return Deferral(str(error), Phase.CONNECT, scope, host, enhanced="4.4.1")
        except Exception as error:
            return judge_exception(error, Phase.CONTENT, host)
        return judge_answer(answer, host)


def judge_answer(answer: WebAnswer, host: str) -> Outcome:
    """The outcome of a whole answer."""
    status = answer.status
    if 200 <= status <= 299:
        return Delivered(host)
    words = quoted(answer.body)
    reason = f"{host} answered {status}" + (f": {words}" if words else "")
    if 400 <= status <= 499 and status not in _PASSING:
        return Failure(reason, Phase.END_OF_DATA, host, enhanced="5.6.0")
    scope = Scope.SITE if status in _BUSY else Scope.MESSAGE
    return Deferral(reason, Phase.END_OF_DATA, scope, host, enhanced="4.3.2" if scope is Scope.SITE else "4.3.0")


def _raw(delivery: Delivery, recipient: Recipient, content: bytes) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """The message as it is, its envelope in the header fields of the request."""
    fields = [
        ("Content-Type", "message/global" if delivery.envelope.utf8 else "message/rfc822"),
        ("X-MTA-Queue-ID", spell(delivery.message)),
        ("X-MTA-Sender", f"<{'' if delivery.sender is None else delivery.sender}>"),
        ("X-MTA-Recipient", f"<{recipient.address}>"),
    ]
    if recipient.named:
        fields.append(("X-MTA-Original-Recipient", f"<{recipient.named}>"))
    return tuple(fields), content


def _json(
    delivery: Delivery, recipient: Recipient, parts: Mapping[str, object]
) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """The message taken apart, with its envelope."""
    data = {
        "queue_id": spell(delivery.message),
        "sender": None if delivery.sender is None else str(delivery.sender),
        "recipient": str(recipient.address),
        "original_recipient": recipient.named or str(recipient.address),
        "size": delivery.content.size,
        **parts,
    }
    event = {"type": "mail.received", "timestamp": _rfc3339(delivery.arrived), "data": data}
    return (("Content-Type", "application/json"),), json.dumps(event).encode("ascii")


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
