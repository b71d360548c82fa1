"""
An Exim of its own: everything for exim.test goes to one Maildir, everything else to the next hop.

It offers SIZE, 8BITMIME, PIPELINING, DSN, SMTPUTF8, CHUNKING and PRDR, and its client uses what it is offered: where
CHUNKING is, it sends BDAT.
"""

from __future__ import annotations

import pwd
import shutil
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.end_to_end.daemon import free_port
from tests.real_peers.peer import Peer, program

_CONFIG = """\
exim_path = {command}
keep_environment =
primary_hostname = mail.exim.test
spool_directory = {top}/spool
log_file_path = {top}/%slog
pid_file_path = {top}/spool/pid
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
deliver_drop_privilege = true
notifier_socket =
{main}
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
prdr_enable = true
acl_smtp_rcpt = accept

begin routers
here:
  driver = accept
  domains = exim.test
  transport = inbox
elsewhere:
  driver = manualroute
  route_list = * 127.0.0.1 byname
  transport = out
  self = send

begin transports
inbox:
  driver = appendfile
  maildir_format
  directory = {top}/mail/inbox
  return_path_add
  user = Debian-exim
out:
  driver = smtp
  protocol = {protocol}
  port = {next_hop}
  allow_localhost
  hosts_try_prdr = *
{out}"""


class Exim(Peer):
    """
    `next_hop` is a port of 127.0.0.1, `protocol` "smtp" or "lmtp"; `main` and `out` are more options of the main part
    and of the transport to the next hop. Without others it offers no TLS.
    """

    name = "exim"

    def __init__(
        self, top: Path, next_hop: int = 0, protocol: str = "smtp", main: str = "tls_advertise_hosts =", out: str = ""
    ) -> None:
        self._next_hop, self._protocol = next_hop or free_port(), protocol
        self._main, self._out = main, out
        super().__init__(top)

    def configured(self) -> list[str]:
        command = program("exim4", "exim4-daemon-light")
        try:
            pwd.getpwnam("Debian-exim")
        except KeyError:
            raise SkipTest("there is no user Debian-exim (see .ci/packages.sh)") from None
        for name in ("spool", "mail"):
            (self.top / name).mkdir()
            shutil.chown(self.top / name, "Debian-exim", "Debian-exim")
        shutil.chown(self.top, "Debian-exim", "Debian-exim")
        config = self.top / "exim.conf"
        config.write_text(
            _CONFIG.format(
                command=command,
                top=self.top,
                port=self.port,
                next_hop=self._next_hop,
                protocol=self._protocol,
                main=self._main,
                out=self._out,
            )
        )
        return [command, "-C", str(config), "-bdf", "-q1s"]
