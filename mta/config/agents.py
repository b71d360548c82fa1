"""
Compare the tables of [delivery] with the routes, and look at what they name.

Owns: what must hold between them and on this machine.
Never: runs anything.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator

from mta.config.lines import Location
from mta.config.schema import Config, Settings
from mta.destination import Transport
from mta.routing.command_line import check_command
from mta.routing.web_address import is_loopback


def conflicts(settings: Settings) -> Iterator[tuple[Location, str]]:
    """What contradicts itself, each with the location to blame."""
    names: dict[str, int] = {}
    for number, pipe in enumerate(settings.delivery.pipes):
        where = ("delivery", "pipe", number)
        first = names.setdefault(pipe.name, number)
        if first != number:
            yield (*where, "name"), f'"{pipe.name}" is that of pipe {first + 1} already'
        try:
            check_command(pipe.command, pipe.recipients == "all")
        except ValueError as error:
            yield (*where, "command"), str(error)
    hooks: dict[str, int] = {}
    for number, hook in enumerate(settings.delivery.hooks):
        where = ("delivery", "http", number)
        if hook.url.transport not in (Transport.HTTP, Transport.HTTPS):
            yield (*where, "url"), f'"{hook.url}" must be https:// or http://'
        elif (first := hooks.setdefault(str(hook.url), number)) != number:
            yield (*where, "url"), f'"{hook.url}" is that of http {first + 1} already'
    for number, route in enumerate(settings.routes):
        hop = route.next_hop
        if hop.transport is Transport.HTTP and not is_loopback(hop.target):
            at = hooks.get(str(hop))
            if at is None or not settings.delivery.hooks[at].clear_text:
                reason = "is not encrypted: write https://, or clear_text = true in a [[delivery.http]] with this URL"
                yield ("route", number, "next_hop"), f'"{hop}" {reason}'
        if hop.transport is Transport.PIPE and hop.target not in names:
            yield ("route", number, "next_hop"), f'there is no [[delivery.pipe]] with the name "{hop.target}"'


def warnings(config: Config) -> list[str]:
    """What an operator should not forget."""
    capture = config.delivery.capture
    if not capture.maildir:
        return []
    but = f", but that for {', '.join(map(str, capture.allow))}" if capture.allow else ""
    return [f"CAPTURE IS ON: all mail goes to {capture.maildir}{but}; nobody else gets any (delivery.capture)"]


def problems(config: Config) -> Iterator[str]:
    """What would keep mail from leaving by them here, each as ``key: message``."""
    for number, pipe in enumerate(config.delivery.pipes, 1):
        if not os.access(pipe.command[0], os.X_OK):
            yield f"delivery.pipe {number}: command: {pipe.command[0]} was not found, or can't be run"
        if pipe.user:
            try:
                is_root = pwd.getpwnam(pipe.user).pw_uid == 0
            except KeyError:
                yield f"delivery.pipe {number}: user: there is no {pipe.user} on this system"
            else:
                if is_root:
                    yield f"delivery.pipe {number}: user: no program is run as root"
