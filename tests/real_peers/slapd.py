"""An OpenLDAP of its own, with some people in it and a password to read them, over TCP on loopback."""

from __future__ import annotations

import base64
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.end_to_end.daemon import eventually, free_port
from tests.real_peers.peer import program

PASSWORD = "open sesame"
BASE = "dc=a,dc=test"
_CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {top}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
disallow bind_anon
database mdb
suffix "{base}"
rootdn "cn=admin,{base}"
rootpw "{password}"
directory {top}/data
"""


class Slapd:
    """Listens on `port`; `people` are addresses and the value that each has as its description."""

    def __init__(self, top: Path, people: Mapping[str, str | tuple[str, ...]]) -> None:
        command = program("slapd", "slapd")
        self._top = top / "slapd"
        (self._top / "data").mkdir(parents=True)
        config = self._top / "slapd.conf"
        config.write_text(_CONFIG.format(top=self._top, base=BASE, password=PASSWORD))
        ldif = self._top / "people.ldif"
        ldif.write_text(_ldif(people))
        add = [program("slapadd", "slapd"), "-q", "-f", str(config), "-l", str(ldif)]
        done = subprocess.run(add, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(done.stderr)
        self.port = free_port()
        url = f"ldap://127.0.0.1:{self.port}/"
        self._command = [command, "-f", str(config), "-h", url, "-d", "0"]
        self.start()

    def url(self, rest: str) -> str:
        """A URL with the password; `rest` begins with the attribute."""
        bind = f"bindname=cn=admin%2c{BASE.replace(',', '%2c')},x-bindpw={PASSWORD.replace(' ', '%20')}"
        return f"ldap://127.0.0.1:{self.port}/{BASE}?{rest}?{bind}"

    def start(self) -> None:
        """Start it, on the same data."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._is_up, "the start of slapd")

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _is_up(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def _ldif(people: Mapping[str, str | tuple[str, ...]]) -> str:
    entries = [f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: test\ndc: a\n"]
    for number, (mail, values) in enumerate(people.items()):
        lines = [f"dn: uid=u{number},{BASE}", "objectClass: inetOrgPerson", f"uid: u{number}", "cn: x", "sn: x"]
        # `mail` is ASCII alone in the schema; a street may have any letter.
        lines.append(f"street:: {_encoded(mail)}")
        lines += [f"description:: {_encoded(value)}" for value in ((values,) if isinstance(values, str) else values)]
        entries.append("\n".join(lines) + "\n")
    return "\n".join(entries)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
