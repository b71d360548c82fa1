"""
Deliver to programs.

Owns: for whom a program is run and as whom, its environment, the fields in front of the message.
Never: a shell, root; two runs for one delivery at once: recipients have their turns.
Fails: never for a program. One that is missing, crashes or takes too long is a deferral.

A run that we did not see the end of may have done its work, and is made again: at least once. `mark` says so before.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from zope.interface import implementer

from mta.address import Address
from mta.delivery.exit_status import judge_exit, judge_signal
from mta.delivery.group_store import RunInThread
from mta.delivery.program import run
from mta.delivery.whole_file import FOLDER, whole_file
from mta.entry import Delivery
from mta.envelope import Body, Recipient
from mta.ids import spell
from mta.interfaces import IDeliveryAgent
from mta.message.trace import final_fields, return_path
from mta.outcome import Deferral, Failure, Outcome, Phase, Scope, judge_exception
from mta.routing.command_line import OptionError, filled, words_of

_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class PipeProgram:
    """
    A program that takes mail: its argument vector, as whom it runs ("" for us), its limits (seconds, octets).

    `for_all`: one run for all recipients of a delivery, which share its outcome.
    """

    command: tuple[str, ...]
    user: str = ""
    directory: str = "/"
    time_limit: float = 1000.0
    output_limit: int = 4096
    for_all: bool = False
    crlf: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


class _UnableError(Exception):
    """Why a program can't be run."""


@implementer(IDeliveryAgent)
class PipeAgent:
    """
    The programs by the names that next hops have; `base` is the state directory. `euid` tells who we are.
    """

    def __init__(
        self,
        programs: Mapping[str, PipeProgram],
        *,
        base: Path,
        reactor: Any,
        run_in_thread: RunInThread,
        euid: Callable[[], int] = os.geteuid,
    ) -> None:
        self._programs = programs
        self._folder = base / FOLDER
        self._reactor = reactor  # IReactorProcess, IReactorTime
        self._run_in_thread = run_in_thread
        self._euid = euid

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        return Deferred.fromCoroutine(self._deliver(delivery))

    def stop(self) -> Deferred[None]:
        return succeed(None)

    async def _deliver(self, delivery: Delivery) -> Mapping[Address, Outcome]:
        name = delivery.destination.next_hop.target
        host = f"pipe:{name}"
        program = self._programs.get(name)
        if program is None:
            return dict.fromkeys(delivery.recipients, _ours(f"{host} is not in the configuration", host))
        recipients = delivery.envelope.recipients
        if program.for_all:
            outcome = await self._outcome(delivery, program, recipients, host)
            return dict.fromkeys(delivery.recipients, outcome)
        return {each.address: await self._outcome(delivery, program, (each,), host) for each in recipients}

    async def _outcome(
        self, delivery: Delivery, program: PipeProgram, recipients: Sequence[Recipient], host: str
    ) -> Outcome:
        first = recipients[0]
        words = words_of(first.address, first.named, delivery.sender, spell(delivery.message), delivery.content.size)
        addresses = [each.address for each in recipients]
        try:
            arguments = filled(program.command, words, [str(address) for address in addresses])
            owner = await self._run_in_thread(lambda: self._owner(program))
            file = await self._message(delivery, program, recipients)
            try:
                await delivery.mark(addresses, host)
                ended = await run(
                    self._reactor,
                    arguments,
                    _environment(words, program, owner),
                    file.fileno(),
                    directory=program.directory,
                    time_limit=program.time_limit,
                    output_limit=program.output_limit,
                    owner=None if owner is None or self._euid() != 0 else (owner.pw_uid, owner.pw_gid),
                )
            finally:
                file.close()
        except CancelledError:
            raise
        except OptionError as error:
            # 5.1.3, 5.1.7: bad syntax of the mailbox, of the sender's mailbox.
            enhanced = "5.1.7" if words["sender"].startswith("-") else "5.1.3"
            return Failure(f"{host}: {error}", Phase.STORE, host, enhanced=enhanced)
        except _UnableError as error:
            return _ours(f"{host}: {error}", host)
        except OSError as error:
            return _ours(f"{host}: {os.strerror(error.errno) if error.errno else error}", host)
        except Exception as error:
            return judge_exception(error, Phase.STORE, host)
        if ended.signal:
            return judge_signal(ended.signal, ended.cause, ended.output, host)
        return judge_exit(ended.status, ended.output, host)

    def _owner(self, program: PipeProgram) -> pwd.struct_passwd | None:
        """As whom to run it, None for ourselves. In a thread: who knows the users may be asked over a network."""
        if not os.access(program.command[0], os.X_OK):
            raise _UnableError(f"{program.command[0]} was not found, or can't be run")
        if not program.user:
            if self._euid() == 0:
                raise _UnableError("no program is run as root; it needs a user")
            return None
        try:
            owner = pwd.getpwnam(program.user)
        except KeyError:
            raise _UnableError(f"there is no user {program.user} on this system") from None
        if owner.pw_uid == 0:
            raise _UnableError("no program is run as root; it needs another user")
        if self._euid() not in (0, owner.pw_uid):
            raise _UnableError(f"only root can run it as {program.user}")
        return owner

    async def _message(self, delivery: Delivery, program: PipeProgram, recipients: Sequence[Recipient]) -> Any:
        head = return_path(delivery.sender)
        if len(recipients) == 1:
            head = final_fields(delivery.sender, recipients[0].address, recipients[0].named)
        to_lf = not program.crlf and delivery.body is not Body.BINARY_MIME
        return await whole_file(delivery.content, head, self._folder, self._run_in_thread, to_lf=to_lf)


def _environment(words: Mapping[str, str], program: PipeProgram, owner: pwd.struct_passwd | None) -> dict[str, str]:
    """The variables that Postfix's local(8) sets; of several recipients only the sender is told."""
    environment = {"PATH": _PATH, "SENDER": words["sender"], "QUEUE_ID": words["queue_id"]}
    if owner is not None:
        environment |= {"HOME": owner.pw_dir, "LOGNAME": owner.pw_name, "SHELL": "/bin/sh"}
    if not program.for_all:
        environment |= {
            "RECIPIENT": words["recipient"],
            "ORIGINAL_RECIPIENT": words["original_recipient"],
            "LOCAL": words["recipient"].rpartition("@")[0],
            "USER": words["user"],
            "EXTENSION": words["extension"],
            "DOMAIN": words["domain"],
        }
    return {**environment, **program.environment}


def _ours(reason: str, host: str) -> Deferral:
    return Deferral(reason, Phase.STORE, Scope.OURSELVES, host, enhanced="4.3.5")
