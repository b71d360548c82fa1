"""
Deliver into Maildirs.

Owns: one file for each recipient, its name, its Return-Path; what a full disk or a missing permission means.
Never: blocks the reactor: all work on files is done by `run_in_thread`.
Fails: never for a mailbox. Trouble with our own store is a deferral, whatever it is: mail waits until it is mended.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.address import Address
from mta.delivery.content import ContentReader
from mta.delivery.group_store import GroupStore, RunInThread
from mta.delivery.mailbox import MailboxFile, mailbox_path
from mta.delivery.nobody import IsNobody, why_not_here
from mta.delivery.store_trouble import not_stored
from mta.entry import Delivery
from mta.envelope import Body
from mta.ids import spell
from mta.interfaces import IContent, IDeliveryAgent
from mta.message.trace import return_path
from mta.outcome import Delivered, Outcome, Phase


@implementer(IDeliveryAgent)
class MaildirAgent:
    """
    The Maildirs below `base`. The next hop's target is the template of `mailbox_path`.

    `is_nobody` says of a recipient that no such user is here. The server refuses mail to those, but a report goes to
    whatever name a sender has made up, and would make a mailbox for each.
    """

    def __init__(
        self,
        *,
        base: Path,
        hostname: str,
        clock: IReactorTime,
        run_in_thread: RunInThread,
        is_nobody: IsNobody = lambda _address: False,
    ) -> None:
        self._base = base
        # The Maildir page: "/" and ":" in the host's name stand as \057 and \072.
        self._hostname = hostname.replace("/", r"\057").replace(":", r"\072")
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._group = GroupStore(run_in_thread)
        self._is_nobody = is_nobody
        self._count = 0

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        return Deferred.fromCoroutine(self._deliver(delivery))

    def stop(self) -> Deferred[None]:
        return succeed(None)

    async def _deliver(self, delivery: Delivery) -> Mapping[Address, Outcome]:
        head = return_path(delivery.sender)
        if delivery.content.whole() is None:  # one at a time, for each holds a chunk
            return {recipient: await self._outcome(delivery, recipient, head) for recipient in delivery.recipients}
        waiting = [
            (recipient, Deferred.fromCoroutine(self._outcome(delivery, recipient, head)))
            for recipient in delivery.recipients
        ]
        return {recipient: await outcome for recipient, outcome in waiting}

    async def _outcome(self, delivery: Delivery, recipient: Address, head: bytes) -> Outcome:
        host = "maildir:"
        absent = await why_not_here(self._is_nobody, recipient, host)
        if absent is not None:
            return absent
        try:
            path = mailbox_path(delivery.destination.next_hop.target, recipient)
            host = f"maildir:{path}"
            binary = delivery.body is Body.BINARY_MIME
            name = self._name(delivery, recipient)
            file = MailboxFile(self._base, path, name, f"{name}.{self._draft()}", binary=binary)
            await self._store(file, head, delivery.content)
        except CancelledError:
            raise
        except Exception as error:
            return not_stored(error, host)
        return Delivered(host, phase=Phase.STORE)

    async def _store(self, file: MailboxFile, head: bytes, content: IContent) -> None:
        whole = content.whole()
        if whole is not None:
            await self._group.store(file, head + whole)
            return
        reader = ContentReader(content)
        try:
            await self._run_in_thread(file.open)
            piece = head
            while piece:
                await self._run_in_thread(partial(file.write, piece))
                piece = await reader.next_chunk()
            await self._run_in_thread(file.finish)
        except CancelledError:
            raise  # a thread may be writing still; what is left in tmp, Maildir readers remove after 36 hours
        except Exception:
            await self._run_in_thread(file.abort)
            raise

    def _name(self, delivery: Delivery, recipient: Address) -> str:
        """
        Time of arrival, microsecond, queue id, recipient, host: one name for one message to one recipient.

        After a crash between the file and its record the message is delivered again, over the file that is there. Only
        a copy that was read meanwhile, which has left ``new``, stays beside the second one.
        """
        arrived, digest = delivery.arrived, sha256(str(recipient).encode("utf-8", "surrogatepass")).hexdigest()[:8]
        micro = int(arrived % 1 * 1_000_000)
        return f"{int(arrived)}.M{micro}Q{spell(delivery.message)}R{digest}.{self._hostname}"

    def _draft(self) -> str:
        """Unique over all attempts, those of a process that died included: its draft may be there still."""
        self._count += 1
        return f"{int(self._clock.seconds() * 1000)}P{os.getpid()}N{self._count}"
