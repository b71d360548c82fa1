"""
A Postfix of its own: everything for postfix.test goes to one Maildir, everything else to the next hop.

It offers PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN and CHUNKING. Its client uses all of them but CHUNKING.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.end_to_end.daemon import PATIENCE
from tests.real_peers.peer import Peer, program

_MAIN = """\
compatibility_level = 3.6
queue_directory = {top}/queue
data_directory = {top}/data
maillog_file = {top}/postfix.log
maillog_file_prefixes = {top}
myhostname = mail.postfix.test
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
smtputf8_enable = yes
smtputf8_autodetect_classes = all
alias_maps =
alias_database =
virtual_mailbox_domains = postfix.test
virtual_mailbox_base = {top}/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
default_transport = {next_hop}
lmtp_connection_cache_on_demand = no
smtp_connection_cache_on_demand = no
"""
# What `postfix check` would make, with a shell script and two seconds.
_PRIVATE = (
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "private",
    "saved",
    "trace",
)
_COMMON = (("maildrop", 0o730), ("public", 0o710))


class Postfix(Peer):
    """`next_hop` is Postfix's name of it: `smtp:[127.0.0.1]:PORT`, `lmtp:inet:127.0.0.1:PORT`."""

    name = "postfix"

    def __init__(self, top: Path, next_hop: str = "discard:", more: str = "") -> None:
        self._next_hop, self._more = next_hop, more
        super().__init__(top)

    def configured(self) -> list[str]:
        master = program("master", "postfix")
        self._etc = self.top / "etc"
        for folder in (self._etc, self.top / "data", self.top / "mail", self.top / "queue", self.top / "queue" / "pid"):
            folder.mkdir(mode=0o755)
        shutil.chown(self.top / "data", "postfix")
        shutil.chown(self.top / "mail", "nobody", "nogroup")
        for name in _PRIVATE:
            self._folder(name, 0o700, None)
        for name, mode in _COMMON:
            self._folder(name, mode, "postdrop")
        (self._etc / "main.cf").write_text(_MAIN.format(top=self.top, next_hop=self._next_hop) + self._more)
        shipped = Path("/usr/share/postfix/master.cf.dist").read_text().splitlines()
        lines = [line.replace(" y ", " n ") for line in shipped if line and not line.startswith("#")]
        # All services as shipped, without chroot, but for the port of smtpd.
        lines[0] = f"127.0.0.1:{self.port}" + lines[0].removeprefix("smtp")
        (self._etc / "master.cf").write_text("\n".join(lines) + "\n")
        for file in self._etc.iterdir():
            # Postfix waits two seconds for a file that was only just changed to settle.
            os.utime(file, (0, 0))
        return [master, "-d", "-c", str(self._etc)]

    def sendmail(self, *arguments: str, content: bytes) -> None:
        """Submit a message by Postfix's sendmail(1)."""
        command = [program("sendmail", "postfix"), "-C", str(self._etc), *arguments]
        subprocess.run(command, input=content, check=True, capture_output=True, timeout=PATIENCE)

    def _folder(self, name: str, mode: int, group: str | None) -> None:
        folder = self.top / "queue" / name
        folder.mkdir()
        folder.chmod(mode)
        shutil.chown(folder, "postfix", group)
