"""
Deliver into mailboxes that are one file each (mbox).

Owns: whose mailbox is where, the fields in front of a message; what a lock or a full disk means.
Never: blocks the reactor: all work on files is done by `run_in_thread`.
Fails: never for a mailbox. Trouble with our own store is a deferral, whatever it is: mail waits until it is mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.address import Address
from mta.delivery.dotlock import LockedError
from mta.delivery.group_store import RunInThread
from mta.delivery.mailbox import mailbox_path
from mta.delivery.mbox_file import MboxError, MboxMessage, from_line
from mta.delivery.mbox_store import MboxStore
from mta.delivery.nobody import IsNobody, why_not_here
from mta.delivery.store_trouble import not_stored
from mta.delivery.whole_file import FOLDER, whole_file
from mta.entry import Delivery
from mta.envelope import Body, Recipient
from mta.interfaces import IDeliveryAgent
from mta.message.trace import final_fields
from mta.outcome import Deferral, Delivered, Failure, Outcome, Phase, Scope

_ROOT = Path("/")


@implementer(IDeliveryAgent)
class MboxAgent:
    """
    The next hop's target is the template of `mailbox_path`: below `base`, or from the root where it begins with "/".

    `is_nobody` as for Maildirs.
    """

    def __init__(
        self,
        *,
        base: Path,
        clock: IReactorTime,
        run_in_thread: RunInThread,
        is_nobody: IsNobody = lambda _address: False,
    ) -> None:
        self._base = base
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._store = MboxStore(run_in_thread, clock)
        self._is_nobody = is_nobody

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        return Deferred.fromCoroutine(self._deliver(delivery))

    def stop(self) -> Deferred[None]:
        return succeed(None)

    async def _deliver(self, delivery: Delivery) -> Mapping[Address, Outcome]:
        recipients = delivery.envelope.recipients
        if delivery.content.whole() is None:
            return {each.address: await self._outcome(delivery, each) for each in recipients}
        waiting = [(each.address, Deferred.fromCoroutine(self._outcome(delivery, each))) for each in recipients]
        return {address: await outcome for address, outcome in waiting}

    async def _outcome(self, delivery: Delivery, recipient: Recipient) -> Outcome:
        address, host = recipient.address, "mbox:"
        absent = await why_not_here(self._is_nobody, address, host)
        if absent is not None:
            return absent
        if delivery.body is Body.BINARY_MIME:
            # RFC 3030 3: it must not be changed, and in an mbox lines end in LF and "From " is quoted.
            return Failure("binary content has no place in an mbox", Phase.STORE, host, enhanced="5.6.3")
        try:
            template = delivery.destination.next_hop.target
            is_absolute = template.startswith("/")
            below = mailbox_path(template.lstrip("/"), address)
            host = f"mbox:{'/' if is_absolute else ''}{below}"
            path = (_ROOT if is_absolute else self._base) / below
            await self._append(delivery, recipient, path, None if is_absolute else self._base)
        except CancelledError:
            raise
        except LockedError as error:
            return Deferral(f"{host} is locked: {error}", Phase.STORE, Scope.RECIPIENT, host, enhanced="4.2.0")
        except MboxError as error:
            return Deferral(str(error), Phase.STORE, Scope.RECIPIENT, host, enhanced="4.2.0")
        except Exception as error:
            return not_stored(error, host)
        return Delivered(host, phase=Phase.STORE)

    async def _append(self, delivery: Delivery, recipient: Recipient, path: Path, base: Path | None) -> None:
        head = final_fields(delivery.sender, recipient.address, recipient.named)
        first = from_line(delivery.sender, self._clock.seconds())
        whole = delivery.content.whole()
        if whole is not None:
            content = (head + whole).replace(b"\r\n", b"\n")
            await self._store.store(path, MboxMessage(first, content), base)
            return
        with await whole_file(delivery.content, head, self._base / FOLDER, self._run_in_thread, to_lf=True) as file:
            await self._store.store(path, MboxMessage(first, file), base)
