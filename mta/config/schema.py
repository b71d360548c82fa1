"""
The options of the configuration, each declared once.

Owns: the tables as a whole, those of the daemon itself, and what a run needs to know of the file.
Never: reads a file or the environment; compares one option with another (`mta/config/consistency.py`).
Fails: pydantic's `ValidationError`, which `mta/config/loading.py` turns into lines for people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mta.address import Address, parse_address
from mta.config.authentication import Auth
from mta.config.delivery import Delivery
from mta.config.fields import (
    BelowState,
    DirectoryPath,
    Duration,
    HostName,
    LogFile,
    Mode,
    Workers,
)
from mta.config.option import REQUIRED, Table, option
from mta.config.receiving import Content, Limits, Listener, Local, Relay
from mta.config.sending import Bounce, Client, Dns, Queue, RouteTable
from mta.config.srs import Srs
from mta.config.sts import Sts
from mta.config.tables import Tables
from mta.config.tls import Tls
from mta.destination import Route
from mta.login import Login
from mta.policy.directory import Directory
from mta.routing.router import Rule
from mta.sts_policy import Mode as StsMode
from mta.sts_policy import StsPolicy, own_policy


class Log(Table):
    """The log: one line for each thing that happens to a message."""

    format: Literal["text", "json"] = option(
        "text", "How a line is written.", unit='"text", "json"', source="read by people first"
    )
    file: LogFile = option(
        "-",
        'A path below state_dir, or "-" for the standard output.',
        unit="path",
        source="systemd keeps the standard output",
    )


class Control(Table):
    """How the command `mta` reaches the daemon."""

    socket: BelowState = option("control", "The UNIX socket, below state_dir.", unit="path", source="beside the spool")
    mode: Mode = option("0600", "Who may open it, as the mode of a file.", unit="mode", source="nobody but the owner")


class Settings(Table):
    """The whole file."""

    hostname: HostName = option(
        REQUIRED,
        "The name of this host in greetings, Received fields and bounces; the DNS should have it.",
        unit="domain",
        source="RFC 5321 4.1.1.1",
        sample="mx.example.org",
    )
    state_dir: DirectoryPath = option(
        "var",
        "The directory of all state (spool, Maildirs, sockets); relative to the one that the daemon is started in.",
        unit="path",
        source="a checkout runs without root",
        sample="var",
    )
    workers: Workers = option(
        1,
        "How many processes handle mail; 0 is one for each core. Two and more have a supervisor, and share all limits.",
        unit="count",
        source="one needs no supervisor",
    )
    shutdown_grace: Duration = option(
        "30s", "How long a stop waits for what is under way.", unit="duration", source="below systemd's 90 s"
    )
    listeners: tuple[Listener, ...] = option((), alias="listener")
    tls: Tls = option({})
    relay: Relay = option({})
    local: Local = option({})
    tables: Tables = option({})
    srs: Srs = option({})
    auth: Auth = option({})
    routes: tuple[RouteTable, ...] = option((), alias="route")
    delivery: Delivery = option({})
    dns: Dns = option({})
    queue: Queue = option({})
    limits: Limits = option({})
    content: Content = option({})
    client: Client = option({})
    bounce: Bounce = option({})
    sts: Sts = option({})
    log: Log = option({})
    control: Control = option({})

    def directory(self) -> Directory:
        """Who lives here."""
        local = self.local
        return Directory(
            domains=local.domains,
            users=local.users,
            aliases=local.aliases,
            moved=local.moved,
            moved_forwards=local.moved_reply == "251",
            hostname=self.hostname,
        )


class Config(Settings):
    """
    The configuration of a run: the settings, the file they came from, and the line of each of its routes.

    Equal files give equal values, and a value can be a key of a dictionary.
    """

    source: str
    route_lines: tuple[int, ...]

    def rules(self) -> tuple[Rule, ...]:
        """The routes as the router takes them; each is named "route 2 (etc/mta.toml:41)" in a trace."""
        numbered = enumerate(zip(self.routes, self.route_lines, strict=True), 1)
        return tuple(
            Rule(
                route.recipients,
                Route(route.next_hop, f"route {number} ({self.source}:{line})", route.tls, _login(route)),
            )
            for number, (route, line) in numbered
        )

    @property
    def hello(self) -> str:
        """The name to say in EHLO."""
        return self.client.hello or self.hostname

    @property
    def postmaster(self) -> Address:
        """Whom bounces come from."""
        return parse_address(self.bounce.postmaster or f"postmaster@{self.hostname}", utf8=True)

    @property
    def tls_report_contact(self) -> Address:
        """Whom the receivers of TLS reports may ask."""
        return parse_address(self.tls.reports.contact or f"postmaster@{self.hostname}")

    @property
    def tls_report_sender(self) -> Address:
        """Whom TLS reports by mail come from."""
        reports = self.tls.reports
        return parse_address(reports.sender) if reports.sender else self.tls_report_contact

    @property
    def double_bounce(self) -> Address | None:
        """Who gets the bounces that can't be delivered, if anyone."""
        return parse_address(self.bounce.double_bounce, utf8=True) if self.bounce.double_bounce else None

    @property
    def templates(self) -> Path | None:
        """The directory with the operator's own texts for reports, if there is one."""
        return Path(self.bounce.templates) if self.bounce.templates else None

    @property
    def sts_policy(self) -> StsPolicy:
        """The MTA-STS policy to publish for our own domains."""
        own = self.sts.policy
        return own_policy(StsMode(own.mode), own.mx or (self.hostname,), int(own.max_age))

    @property
    def policy_domains(self) -> tuple[str, ...]:
        """The domains that our MTA-STS policy is for: each that we take mail for and that is named, not a pattern."""
        return (*self.local.domains, *(name for name in self.relay.domains if name[0] not in ".*"))

    @property
    def control_path(self) -> Path:
        """The control socket."""
        return self.state_dir / self.control.socket

    @property
    def users_path(self) -> Path:
        """The file of users."""
        return self.state_dir / self.auth.users

    @property
    def log_path(self) -> Path | None:
        """The log's file, or None for the standard output."""
        return None if self.log.file == "-" else self.state_dir / self.log.file


def _login(route: RouteTable) -> Login | None:
    return Login(route.user, route.password, route.mechanisms, route.token) if route.user else None
