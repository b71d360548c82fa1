"""
The spool and the mail log, as one process has them open.

Owns: opening and closing them, the measure of the disk, what a message that arrives here is called.
Never: decides what is written.
Fails: with `StartError` where they can't be opened.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from mta.assembly import doubt_retry
from mta.config.schema import Config
from mta.daemon.starting import StartError
from mta.ids import QueueIds
from mta.maillog import LogFile, MailLog
from mta.queue.backlog import SPREAD
from mta.spool import SpoolError, place, schema
from mta.spool.ballast import Ballast
from mta.spool.spool import Membership, open_spool


class Storage:
    """
    Open, from the moment it is made. `member` is who we are among several processes, None: there is no other.

    `log_path` is where the mail log goes, None for the standard output. Raises `StartError`.
    """

    def __init__(self, config: Config, log_path: Path | None, reactor: Any, member: Membership | None = None) -> None:
        self._reactor = reactor
        self.rng = random.Random()
        try:
            self._log_file = LogFile(log_path, lambda call: reactor.callLater(0, call), reactor.seconds)
        except OSError as error:
            raise StartError(f"{log_path}: cannot write the log: {error.strerror}", os.EX_CANTCREAT) from error
        self._mail_log = MailLog(self._log_file.write, config.log.format)
        self._ballast = Ballast(config.state_dir)
        try:
            self.spool = open_spool(
                config.state_dir,
                reactor,
                pid=os.getpid(),
                now=reactor.seconds(),
                journal=lambda event: self._mail_log.event(event),
                retry_in=doubt_retry(config, self.rng),
                ballast=self._ballast,
                longest_wait=_longest_wait(config),
                member=member,
            )
        except SpoolError as error:
            raise StartError(str(error), os.EX_DATAERR) from error
        self._ballast.take()  # where there is no room, no mail is taken until there is
        self.ids = QueueIds(member.worker if member else 0, above=self.spool.largest_id)
        self.change_to(config)

    def change_to(self, config: Config) -> None:
        """Go on with another configuration, as far as it concerns us."""
        self._mail_log = MailLog(self._log_file.write, config.log.format)
        self._room = place.Room(
            config.state_dir / schema.FILE_NAME,
            config.limits.free_space_percent,
            config.limits.message_size,
            self._reactor.seconds,
            self._ballast,
        )

    def room(self) -> bool:
        """Whether new mail is welcome: nothing is damaged, and the disk has room."""
        return not self.spool.damage() and self._room()

    def note(self, kind: str, fields: Mapping[str, str]) -> None:
        """Write a line of the mail log that belongs to no message."""
        self._mail_log.note(self._reactor.seconds(), kind, fields)

    def run_in_thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """What blocks on the disk."""
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, *arguments)

    async def close(self) -> None:
        """Finish what is under way and close."""
        await self.spool.close()
        self._log_file.close()


def _longest_wait(config: Config) -> float:
    """The longest that anything in the queue waits for its next turn, in seconds."""
    queue = config.queue
    return max(max(queue.retry) * (1 + queue.jitter), queue.dead_maximum * (1 + SPREAD))
