"""
Run the whole MTA in a world that does not exist.

Owns: putting the production code (`mta/assembly.py`) on a simulated machine, its crashes and restarts, the order of it.
Never: replaces a part of the MTA: time, network, names, disk and chance are what it takes as arguments anyway.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher

from mta.assembly import Assembly, assemble, doubt_retry
from mta.config.schema import Config
from mta.destination import Transport
from mta.events import Event
from mta.ids import QueueIds
from mta.policy.clients import Networks
from mta.sim.disk import Disk, DiskCommit
from mta.sim.harmless import harmless
from mta.sim.ledger import Ledger
from mta.sim.load import LoadClient
from mta.sim.machine import Machine
from mta.sim.scenario import Fault, Scenario
from mta.sim.world import OURS, World
from mta.spool import SpoolError, schema
from mta.spool.schema import SpoolConnection
from mta.spool.spool import spool_on
from mta.surroundings import Surroundings

# When every simulation begins: midnight of a Thursday, UTC. Any fixed time would do.
START = 1_767_225_600.0
# Our listeners have a port each from here on: whatever endpoints they are configured with, nothing binds one.
FIRST_PORT = 2500
# How often old events are forgotten, in seconds; as in the daemon.
PRUNE_INTERVAL = 600.0
# After how long a daemon that could not start is started again, in seconds: RestartSec of etc/mta.service.
RESTART_INTERVAL = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """
    A finished simulation: what was seen, and the database as the disk holds it at the end.

    `start` and `end` in seconds since 1970; `mail` is the directory with the Maildirs, gone once the result was used.
    `waiting` are the messages and recipients that were in the queue at the begin.
    """

    scenario: Scenario
    config: Config
    ledger: Ledger
    database: SpoolConnection
    start: float
    end: float
    mail: Path
    waiting: Sequence[tuple[int, str]] = ()

    @property
    def backlog(self) -> int:
        """How many recipients were in the queue at the begin."""
        return len(self.waiting)


class Stopped(Exception):  # noqa: N818
    """Somebody did not want to wait for the end of the run."""


class Simulation:
    """
    One run of `scenario` with the operator's `config`.

    `database` is a spool to begin with, an empty one where it is None. `use` it as a context: Maildirs are files, in a
    directory of their own that goes with it.
    """

    def __init__(
        self, config: Config, scenario: Scenario, database: SpoolConnection | None = None, start: float = START
    ) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="mta-simulate-", dir=_memory()))
        self.config = harmless(config, self._directory)
        self.scenario = scenario
        self.world = World(scenario, start)
        self.ledger = self.world.ledger
        self.machine = Machine(self.world.clock, self.world.network, OURS)
        self.steps = 0  # of all machines that have crashed
        self._waiting = _waiting(database) if database is not None else ()
        self._disk = Disk(database or schema.memory())
        self._assembly: Assembly | None = None
        self._loads: list[LoadClient] = []
        self._commits_left = 0  # until the transaction in which the machine crashes
        self._crash_is_near = self._crash_on_disk = False

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *_exception: object) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def run(self, progress: Callable[[float], None] = lambda _share: None) -> Result:
        """
        Run it to its end; `progress` is told now and then which share of the time is over.

        Raises `Stopped` where `stop` was called meanwhile.
        """
        world, scenario = self.world, self.scenario
        observer = cast(ILogObserver, self._heard)
        globalLogPublisher.addObserver(observer)
        try:
            self._listen_for_routes()
            self._start_mta()
            self._send_loads()
            self._plan_faults()
            self._tell_spells()
            parts = 200
            for part in range(1, parts + 1):
                world.clock.run_until(world.start + scenario.duration * part / parts)
                if world.clock.stopped:
                    raise Stopped
                progress(part / parts)
        finally:
            globalLogPublisher.removeObserver(observer)
        end = world.clock.seconds()
        database = self._disk.database
        return Result(scenario, self.config, self.ledger, database, world.start, end, self._directory, self._waiting)

    def stop(self) -> None:
        """End the run between two of its steps; a signal may call it."""
        self.world.clock.stopped = True

    def _listen_for_routes(self) -> None:
        """Wherever the configuration sends mail to, somebody is there."""
        for route in self.config.routes:
            hop = route.next_hop
            if hop.transport in (Transport.SMTP, Transport.LMTP):
                for each in hop.each:
                    self.world.listen_at(f"{each.target}:{each.port}")
            elif hop.transport is Transport.LMTP_UNIX:
                self.world.listen_at_socket(str(self.config.state_dir / hop.target), str(hop))

    # Our own machine

    def _start_mta(self) -> None:
        """Start the MTA on a machine that is new, with the disk as it was left."""
        machine = self.machine
        now = machine.seconds()
        spool = spool_on(
            self._disk.database,
            DiskCommit(self._disk.database, machine, self._event, self._interrupted),
            now,
            self._event,
            doubt_retry(self.config, self.world.rng),
        )
        around = Surroundings(
            reactor=machine,
            spool=spool,
            resolver=self.world.resolver(machine),
            rng=self.world.rng,
            ids=QueueIds(above=spool.largest_id),
            run_in_thread=machine.run_in_thread,
            room=self._disk.has_room,
            note=self._noted,
        )
        assembly = self._assembly = assemble(self.config, around)
        for number, (_listener, factory) in enumerate(assembly.servers):
            machine.listenTCP(FIRST_PORT + number, factory)
        assembly.queue.start()

        def prune() -> None:
            spool.prune(machine.seconds() - self.config.queue.events_keep).addErrback(lambda _fault: None)
            machine.callLater(PRUNE_INTERVAL, prune)

        machine.callLater(PRUNE_INTERVAL, prune)

    def _crashed(self, restart_at: float) -> None:
        """The machine is dead: what the program knew is gone, what the disk holds is not."""
        clock = self.world.clock
        self.ledger.crashes.append(clock.seconds())
        self.ledger.note(clock.seconds(), "the daemon crashes")
        self.steps += self.machine.steps
        self._commits_left, self._crash_is_near = 0, False  # a crash that was planned for this machine as well
        self._assembly = None
        clock.callLater(max(0.001, restart_at - clock.seconds()), self._restart)

    def _restart(self) -> None:
        clock, machine = self.world.clock, self.machine
        self.machine = Machine(clock, self.world.network, OURS)
        try:
            self._start_mta()
        except SpoolError as error:  # the disk is full; whoever supervises it tries again
            self.machine = machine
            what = f"the daemon can't start: {error}"
            if self.ledger.happenings[-1].text != what:  # once, however often it tries
                self.ledger.note(clock.seconds(), what)
            clock.callLater(RESTART_INTERVAL, self._restart)
            return
        self.ledger.restarts.append(clock.seconds())
        self.ledger.note(clock.seconds(), "the daemon is started again")

    # What happens

    def _plan_faults(self) -> None:
        plan = {"crash": self._plan_crash, "disk-full": self._plan_full_disk, "resolver": self._plan_resolver}
        for fault in self.scenario.faults:
            plan[fault.kind](fault)

    def _at(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        self.world.clock.callLater(seconds, call, *arguments)

    def _plan_crash(self, fault: Fault) -> None:
        restart_at = self.world.start + fault.end

        def crash() -> None:
            if not self.machine.alive:
                return
            self.machine.crashed = lambda: self._crashed(max(restart_at, self.world.clock.seconds() + 1.0))
            self._commits_left, self._crash_on_disk = fault.at_commit, fault.on_disk
            if fault.at_commit:
                return
            if fault.at_step:
                self.machine.crash_at_step = self.machine.steps + fault.at_step
            else:
                self.machine.crash()
                self.machine.crashed()

        self._at(fault.begin, crash)

    def _interrupted(self, on_disk: bool) -> bool:
        """Whether the machine dies in the middle of a transaction, which is on its way to the disk or there."""
        if self._commits_left and not on_disk:
            self._commits_left -= 1
            self._crash_is_near = self._commits_left == 0
        if self._crash_is_near and on_disk == self._crash_on_disk:
            self._crash_is_near = False
            self.machine.crash()
            self.machine.crashed()
            return True
        return False

    def _plan_full_disk(self, fault: Fault) -> None:
        def fill() -> None:
            self._disk.fill()
            self.ledger.note(self.world.clock.seconds(), "the disk is full")

        def free() -> None:
            self._disk.free()
            self.ledger.note(self.world.clock.seconds(), "the disk has room again")

        self._at(fault.begin, fill)
        self._at(fault.end, free)

    def _plan_resolver(self, fault: Fault) -> None:
        def switch(fails: bool, text: str) -> None:
            self.world.resolver_fails = fails
            self.ledger.note(self.world.clock.seconds(), text)

        self._at(fault.begin, switch, True, "the resolver fails")
        self._at(fault.end, switch, False, "the resolver works again")

    def _tell_spells(self) -> None:
        for site in self.scenario.sites:
            for spell in site.spells:
                state = spell.state if spell.state != "up" else "in trouble"
                self._at(spell.begin, self._tell, f"{site.name} is {state}")
                self._at(spell.end, self._tell, f"{site.name} is as usual")

    def _tell(self, text: str) -> None:
        self.ledger.note(self.world.clock.seconds(), text)

    def _send_loads(self) -> None:
        first_token = 1
        trusted = Networks(self.config.relay.networks)
        numbers = {listener.name: number for number, listener in enumerate(self.config.listeners)}
        for load in self.scenario.loads:
            number = numbers[load.listener] if load.listener else 0
            client = LoadClient(
                load,
                Machine(self.world.clock, self.world.network, load.client or "127.0.0.1"),
                (OURS, FIRST_PORT + number),
                lmtp=self.config.listeners[number].role == "lmtp",
                first_token=first_token,
                ledger=self.ledger,
            )
            biggest = max(load.size, load.size_to)
            if not trusted.contains(load.client or "127.0.0.1"):
                self.ledger.strangers.update(range(first_token, first_token + load.messages))
            client.start([self.world.rng.randint(load.size, biggest) for _ in range(load.messages)])
            self._loads.append(client)
            first_token += load.messages

    # What is seen

    def _event(self, event: Event) -> None:
        self.ledger.events.append(event)

    def _noted(self, kind: str, fields: Mapping[str, str]) -> None:
        if kind == "fault":
            self.ledger.faults.append(f"{fields.get('where')}: {fields.get('reason')}")

    def _heard(self, said: LogEvent) -> None:
        """A line of the program's own log: an exception of ours is news."""
        if said.get("log_level") is LogLevel.critical and "log_failure" in said:
            failure = said["log_failure"]
            self.ledger.faults.append(f"{failure.type.__name__}: {failure.getErrorMessage()}")


def _memory() -> str | None:
    """Where files are kept in memory, on a host that has such a place: Maildirs wait for the disk with each message."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _waiting(database: SpoolConnection) -> tuple[tuple[int, str], ...]:
    """Who is in the queue of a spool to begin with."""
    return tuple(database.execute("SELECT message, address FROM recipients ORDER BY message, address"))
