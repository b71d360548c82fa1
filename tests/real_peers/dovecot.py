"""
A Dovecot of its own that does LMTP alone, over TCP and a UNIX socket; its users, dave and erin, share one Maildir.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.real_peers.peer import Peer, program

_NOBODY = "65534:65534"
_CONFIG = """\
base_dir = {top}/run
state_dir = {top}/state
log_path = {top}/dovecot.log
protocols = lmtp
ssl = no
hostname = mail.dovecot.test
mail_location = maildir:{top}/mail/inbox
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = {top}/users
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener lmtp {{
    mode = 0666
  }}
}}
"""


class Dovecot(Peer):
    """Its LMTP server, on `port` and at `socket`."""

    name = "dovecot"

    @property
    def socket(self) -> Path:
        """The UNIX socket."""
        return self.top / "run" / "lmtp"

    def configured(self) -> list[str]:
        command = program("dovecot", "dovecot-lmtpd")
        program("doveconf", "dovecot-lmtpd")
        (self.top / "mail").mkdir()
        shutil.chown(self.top / "mail", "nobody", "nogroup")
        users = "".join(f"{name}@dovecot.test::{_NOBODY}::{self.top}/mail::\n" for name in ("dave", "erin"))
        (self.top / "users").write_text(users)
        config = self.top / "dovecot.conf"
        config.write_text(_CONFIG.format(top=self.top, port=self.port))
        return [command, "-F", "-c", str(config)]
