"""
The MTAs that are measured: our daemon, and a Postfix of its own.

Owns: their configurations, that all of their state is in a temporary folder, that they end with the measurement.
Never: uses the machine's own Postfix or its spool.

Both are told the same things (`Setting`) and are otherwise as they come: ours with its defaults, Postfix with those of
Debian's main.cf and master.cf but for the chroot jails.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import UnavailableError, answers, ending, free_port, program, wait_for

# The columns of the table.
OURS, OURS_2, POSTFIX = "mta", "mta, 2 workers", "postfix"
SYSTEMS = (OURS, OURS_2, POSTFIX)

LOCAL_DOMAIN = "local.test"
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    """
    What the MTAs of a row are told.

    `next_hop` is the port that all mail goes to; `routes` are (domain, "HOST:PORT") that come first. Mail for
    `LOCAL_DOMAIN` goes to Maildirs where `local`. `ours` is TOML to add to our configuration, `theirs` lines of
    Postfix's main.cf: for what a row needs and a default forbids. `pair` is a file with a key and a certificate: then
    there is STARTTLS, and a second port with TLS from the start.
    """

    next_hop: int = 1
    routes: Sequence[tuple[str, str]] = ()
    local: bool = False
    limits: str = ""
    ours: str = ""
    theirs: str = ""
    pair: Path | None = None


@dataclass(slots=True)
class Server:
    """
    A running MTA: where it listens, the process that all of its others descend from, where its Maildirs are.

    `implicit` is the port with TLS from the start, where the setting has a pair.
    """

    port: int
    root: int
    mail: Path
    config: Path
    started_in: float = 0.0  # seconds from its start to its greeting
    implicit: int = 0


# Ours

_CONFIG = """\
hostname = "bench.test"
state_dir = "{state}"
{workers}
[[listener]]
name = "bench"
endpoint = "tcp:{port}:interface=127.0.0.1"
role = "mx"

[relay]
networks = ["{trusted}"]

[limits]
{limits}

[log]
file = "mail.log"
{more}
"""
_LOCAL = f"""
[local]
domains = ["{LOCAL_DOMAIN}"]
users = ["*"]
maildir = "mail/{{user}}"
"""
_TLS = """
[[listener]]
name = "implicit"
endpoint = "tcp:{port}:interface=127.0.0.1"
role = "mx"
tls = "implicit"

[[tls.certificates]]
certificate = "{pair}"
key = "{pair}"
"""
_ROUTE = """
[[route]]
recipients = ["{recipients}"]
next_hop = "{next_hop}"
"""


def write_config(
    top: Path,
    port: int,
    setting: Setting,
    *,
    workers: int = 1,
    next_hop: str = "",
    trusted: str = "127.0.0.0/8",
    implicit: int = 0,
) -> Path:
    """Our configuration for `setting`, as a file in `top`; `next_hop` is another than the port of the setting."""
    routes = [(f"*@{domain}", f"smtp://{place}") for domain, place in setting.routes]
    more = _LOCAL if setting.local else ""
    if not setting.local:
        routes.append(("*", next_hop or f"smtp://127.0.0.1:{setting.next_hop}"))
    if setting.pair is not None:
        more += _TLS.format(port=implicit, pair=setting.pair)
    more += setting.ours + "".join(_ROUTE.format(recipients=whom, next_hop=where) for whom, where in routes)
    config = top / "mta.toml"
    config.write_text(
        _CONFIG.format(
            state=top / "state",
            # Not said where it is one: what the default configuration does is what is measured.
            workers=f"workers = {workers}\n" if workers != 1 else "",
            port=port,
            trusted=trusted,
            limits=setting.limits,
            more=more,
        )
    )
    return config


TWISTD = "from twisted.scripts.twistd import run; run()"


@contextlib.contextmanager
def ours(
    top: Path,
    setting: Setting,
    *,
    workers: int = 1,
    next_hop: str = "",
    trusted: str = "127.0.0.0/8",
    under: Sequence[str] = (),
    timeout: float = 60.0,
) -> Iterator[Server]:
    """
    Our daemon; state and output are in `top`, where a spool may lie already.

    `under` is a command that runs it: strace, a profiler. Raises `UnavailableError` where it does not start.
    """
    top.mkdir(exist_ok=True)
    port, implicit = free_port(), free_port()
    config = write_config(top, port, setting, workers=workers, next_hop=next_hop, trusted=trusted, implicit=implicit)
    command = [*under, sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile="]
    command += ["--logfile", str(top / "twistd.log"), "mta", "--config", str(config)]
    began = time.monotonic()
    with (top / "daemon.out").open("wb") as output:
        # In a session of its own: Ctrl-C is for the harness, which ends what it has started.
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    with ending(process, 40, wrapped=bool(under)):
        wait_for(lambda: answers(port) or process.poll() is not None, timeout, "our start")
        if process.poll() is not None:
            said = (top / "daemon.out").read_text().strip().splitlines()
            raise UnavailableError(f"our daemon did not start: {said[-1] if said else process.returncode}")
        yield Server(port, process.pid, top / "state" / "mail", config, time.monotonic() - began, implicit)


@contextlib.contextmanager
def our_daemon(
    top: Path, next_hop: str, *, limits: str = 'message_size = "100MiB"', trusted: str = "127.0.0.0/8"
) -> Iterator[tuple[int, int]]:
    """
    Our daemon alone, relaying everything to `next_hop`: the process and its port.

    `limits` are lines of the table of that name, `trusted` is the network that may relay.
    """
    with ours(top, Setting(limits=limits), next_hop=next_hop, trusted=trusted) as server:
        yield server.root, server.port


# Postfix

_MAIN = """\
compatibility_level = 3.6
queue_directory = {top}/queue
data_directory = {top}/data
maillog_file = {top}/postfix.log
maillog_file_prefixes = {top}
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no
append_dot_mydomain = no
readme_directory = no
myhostname = bench.test
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{next_hop}
transport_maps = texthash:{top}/etc/transport
smtp_tls_security_level = none
smtpd_tls_security_level = none
alias_maps =
alias_database =
local_recipient_maps =
"""
_VIRTUAL = """\
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {top}/mail
virtual_mailbox_maps = static:recipient/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""


def _write_postfix(top: Path, port: int, setting: Setting, implicit: int) -> Path:
    configuration = top / "etc"
    for folder in (top, configuration, top / "queue", top / "data", top / "mail"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    for folder in (top / "data", top / "mail"):
        shutil.chown(folder, "postfix", "postfix")
    main = _MAIN.format(top=top, next_hop=setting.next_hop)
    if setting.local:
        owner = (top / "mail").stat()
        main += _VIRTUAL.format(domain=LOCAL_DOMAIN, top=top, uid=owner.st_uid, gid=owner.st_gid)
    if setting.pair is not None:
        main = main.replace("smtpd_tls_security_level = none", "smtpd_tls_security_level = may")
        main += f"smtpd_tls_chain_files = {setting.pair}\n"
    (configuration / "main.cf").write_text(main + setting.theirs)
    places = [(domain, *place.rsplit(":", 1)) for domain, place in setting.routes]
    transport = "".join(f"{domain} smtp:[{host}]:{number}\n" for domain, host, number in places)
    (configuration / "transport").write_text(transport)
    master = Path("/usr/share/postfix/master.cf.dist").read_text()
    # Without chroot, as on most systems; all services as shipped, but for the port of smtpd.
    lines = [line for line in master.splitlines() if line and not line.startswith("#")]
    service = f"127.0.0.1:{port}"
    rewritten = [service + line[4:] if line.startswith("smtp  ") and " inet " in line else line for line in lines]
    if setting.pair is not None:
        rewritten.append(f"127.0.0.1:{implicit} inet n - y - - smtpd -o smtpd_tls_wrappermode=yes")
    (configuration / "master.cf").write_text("\n".join(rewritten).replace(" y ", " n ") + "\n")
    return configuration


@contextlib.contextmanager
def postfix(top: Path, setting: Setting, *, under: Sequence[str] = ()) -> Iterator[Server]:
    """A Postfix with all its files in `top`, which its own user must be able to reach; `under` runs it."""
    if os.geteuid() != 0:
        raise UnavailableError("Postfix starts as root alone")
    command, port, implicit = program("postfix"), free_port(), free_port()
    configuration = _write_postfix(top, port, setting, implicit)
    began = time.monotonic()
    with (top / "postfix.out").open("wb") as output:
        process = subprocess.Popen(
            [*under, command, "-c", str(configuration), "start-fg"],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    with ending(process, 10, wrapped=bool(under)):
        try:
            wait_for(lambda: answers(port) or process.poll() is not None, 20, "Postfix's start")
            if process.poll() is not None:
                raise UnavailableError(f"Postfix did not start: {(top / 'postfix.out').read_text()[-200:]}")
            root = int((top / "queue/pid/master.pid").read_text())
            yield Server(port, root, top / "mail", configuration, time.monotonic() - began, implicit)
        finally:
            # More than once: a master that is about to start does not count as running yet.
            for _ in range(20):
                subprocess.run([command, "-c", str(configuration), "stop"], check=False, capture_output=True)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
                    break


def start(
    system: str, top: Path, setting: Setting, *, under: Sequence[str] = ()
) -> contextlib.AbstractContextManager[Server]:
    """One of `SYSTEMS`, in a folder of its own below `top`."""
    folder = top / system.replace(", ", "-").replace(" ", "-")
    if system == POSTFIX:
        return postfix(folder, setting, under=under)
    return ours(folder, setting, workers=2 if system == OURS_2 else 1, under=under)
