"""
Check what the configuration needs of the machine, for `mta check` and before a start.

Owns: what can be told by looking: directories, the system's resolvers, the length of a socket's path, the operator's
texts for reports, the file of authorities.
Never: creates, binds or connects anything; asks the DNS.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mta.config import agents
from mta.config.schema import Config
from mta.destination import Transport
from mta.message.templates import TemplateError, load

_RESOLV_CONF = Path("/etc/resolv.conf")
# unix(7): sun_path has 108 octets, the last one a NUL.
MAX_SOCKET_PATH = 107


def problems(config: Config, resolv_conf: Path = _RESOLV_CONF) -> list[str]:
    """All that would keep a daemon with this configuration from working here, each as ``file: key: message``."""
    found = [
        *_state(config),
        *_sockets(config),
        *_resolvers(config, resolv_conf),
        *_templates(config),
        *_authorities(config),
        *agents.problems(config),
    ]
    return [f"{config.source}: {problem}" for problem in found]


def _state(config: Config) -> Iterator[str]:
    trouble = _trouble_with(config.state_dir)
    if trouble:
        yield f"state_dir: {trouble}"
        return
    if config.log_path and (trouble := _trouble_with(config.log_path.parent)):
        yield f"log.file: {trouble}"
    if trouble := _trouble_with(config.control_path.parent):
        yield f"control.socket: {trouble}"


def _trouble_with(directory: Path) -> str:
    """Why files can't be made in a directory, which need not exist yet; "" where they can."""
    existing = directory.absolute()
    try:
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            return f"{existing} is not a directory"
    except OSError as error:
        return f"cannot look at {existing}: {error.strerror}"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"no permission to write in {existing}"
    return ""


def _sockets(config: Config) -> Iterator[str]:
    sockets = [("control.socket", config.control_path, "state_dir")]
    for number, route in enumerate(config.routes, 1):
        hop = route.next_hop
        if hop.transport is Transport.LMTP_UNIX:
            blame = "it" if hop.target.startswith("/") else "state_dir"
            sockets.append((f"route {number}: next_hop", config.state_dir / hop.target, blame))
    for key, place, blame in sockets:
        path = place.absolute()
        length = len(os.fsencode(path))
        if length > MAX_SOCKET_PATH:
            yield f"{key}: {path} has {length} octets of at most {MAX_SOCKET_PATH}; shorten {blame}"


def _templates(config: Config) -> Iterator[str]:
    try:
        load(config.bounce.languages, config.templates)
    except TemplateError as error:
        yield f"bounce.templates: {error}"


def _authorities(config: Config) -> Iterator[str]:
    tokens = enumerate(config.client.tokens, 1)
    for key, path in (
        ("client.tls.ca_file", config.client.tls.ca_file),
        ("sts.ca_file", config.sts.ca_file),
        ("tables.ca_file", config.tables.ca_file),
        ("auth.oauth.ca_file", config.auth.oauth.ca_file),
        ("delivery.ca_file", config.delivery.ca_file),
        *((f"client.tokens {number}: ca_file", table.ca_file) for number, table in tokens),
    ):
        if path:
            yield from _unreadable_authorities(key, path)


def _unreadable_authorities(key: str, path: str) -> Iterator[str]:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        yield f"{key}: {path} has no certificates in PEM form"
    except OSError as error:
        yield f"{key}: cannot read {path}: {error.strerror}"


def _resolvers(config: Config, path: Path) -> Iterator[str]:
    if config.dns.servers:
        return
    try:
        path.read_bytes()
    except FileNotFoundError:
        return  # resolv.conf(5): then the server is on this machine
    except OSError as error:
        yield f"dns.servers: is empty, and {path} cannot be read: {error.strerror}"
