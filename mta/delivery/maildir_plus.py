"""
Deliver into Maildirs with a quota, and into their folders (Maildir++).

Owns: what becomes of a message that has no room; which extension of an address is a folder.
Never: counts (`maildir_quota.py`); blocks the reactor.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from mta.address import Address
from mta.delivery.mailbox import MailboxError, MailboxFile, mailbox_path
from mta.delivery.maildir import MaildirAgent
from mta.delivery.maildir_quota import Quota
from mta.destination import NextHop, Transport
from mta.entry import Delivery
from mta.interfaces import IContent
from mta.outcome import Deferral, Failure, Outcome
from mta.routing.command_line import local_parts

# Of a folder's name. Others would need the encoding of IMAP, or be a way to another folder.
_FOLDER = re.compile(r"[A-Za-z0-9_-]{1,64}")


class OverQuotaError(MailboxError):
    """There is no room for the message."""

    enhanced = "4.2.2"


class MaildirPlusAgent(MaildirAgent):
    """
    `quota` holds for each Maildir with its folders; over it a message waits, or with `over_quota_fails` fails.

    With `folders`, mail for "user+name" goes to the folder "name" of the user, where there is one, else to the inbox.
    """

    def __init__(self, *, quota: Quota, over_quota_fails: bool = False, folders: bool = False, **others: Any) -> None:
        super().__init__(**others)
        self._quota = quota if quota.header else None
        self._over_quota_fails = over_quota_fails
        self._folders = folders

    async def _outcome(self, delivery: Delivery, recipient: Address, head: bytes) -> Outcome:
        if self._folders:
            delivery, recipient = await self._in_folder(delivery, recipient)
        outcome = await super()._outcome(delivery, recipient, head)
        if self._over_quota_fails and isinstance(outcome, Deferral) and outcome.enhanced == OverQuotaError.enhanced:
            return Failure(outcome.reason, outcome.phase, outcome.host, enhanced="5.2.2")
        return outcome

    async def _in_folder(self, delivery: Delivery, recipient: Address) -> tuple[Delivery, Address]:
        """The delivery as one for the user, to the folder where there is that."""
        user, extension = local_parts(recipient)
        if not extension:
            return delivery, recipient
        owner = Address(user, recipient.domain)
        target = delivery.destination.next_hop.target
        if not _FOLDER.fullmatch(extension):
            return delivery, owner
        try:
            folder = self._base / mailbox_path(target, owner) / f".{extension}"
        except MailboxError:
            return delivery, owner
        if not await self._run_in_thread(lambda: os.path.isdir(folder)):
            return delivery, owner
        next_hop = NextHop(Transport.MAILDIR, f"{target.rstrip('/')}/.{extension}")
        return replace(delivery, destination=replace(delivery.destination, next_hop=next_hop)), owner

    async def _store(self, file: MailboxFile, head: bytes, content: IContent) -> None:
        quota = self._quota
        if quota is None:
            await super()._store(file, head, content)
            return
        mailbox = file.mailbox.parent if file.mailbox.name.startswith(".") else file.mailbox
        size = len(head) + content.size
        now = self._clock.seconds()
        if not await self._run_in_thread(lambda: quota.has_room(mailbox, size, now)):
            raise OverQuotaError(f"the mailbox is over its quota of {quota.header}")
        await super()._store(file, head, content)
        await self._run_in_thread(lambda: quota.add(mailbox, _stored(file, size)))


def _stored(file: MailboxFile, size: int) -> int:
    """The octets of a stored message: fewer than those sent, for lines end in LF."""
    try:
        return Path(file.place).stat().st_size
    except OSError:  # somebody reads it already
        return size
