"""
A DNS of our own: NSD with signed and unsigned zones below "test.", and in front of it an Unbound that validates them.

Owns: keys, signatures and the delegations between the zones, both servers on 127.0.0.1, and new zones while they run.
Never: asks any name server but its own: what is outside of "test." is refused.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from tests.end_to_end.daemon import eventually, free_port
from tests.real_peers.peer import program

_NSD = """\
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{top}"
  database: ""
  pidfile: "{top}/nsd.pid"
  xfrdfile: "{top}/nsd.xfrd"
  zonelistfile: "{top}/nsd.zones"
  xfrdir: "{top}"
  logfile: "{top}/nsd.log"
  server-count: 1
remote-control:
  control-enable: no
"""
_ZONE = 'zone:\n  name: "{name}"\n  zonefile: "{name}zone"\n'
_UNBOUND = """\
server:
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  username: ""
  chroot: ""
  directory: "{top}"
  pidfile: "{top}/unbound.pid"
  use-syslog: no
  logfile: "{top}/unbound.log"
  num-threads: 1
  do-ip6: no
  do-not-query-localhost: no
  qname-minimisation: no
  trust-anchor-signaling: no
  local-zone: "." refuse
  local-zone: "test." transparent
  trust-anchor: "{anchor}"
remote-control:
  control-enable: no
"""
_STUB = 'stub-zone:\n  name: "{name}"\n  stub-addr: 127.0.0.1@{port}\n'
_BEGIN = "@ 0 IN SOA ns.test. hostmaster.test. {serial} 3600 600 86400 0\n@ 0 IN NS ns.test.\n"
_DAY = 86_400

# Changes a zone after it was signed.
Forge = Callable[[dns.zone.Zone], None]


def forged(name: str, kind: str, *records: str) -> Forge:
    """Records put in place of those that were signed: the signature stays, and is wrong."""

    def put(zone: dns.zone.Zone) -> None:
        zone.replace_rdataset(dns.name.from_text(name), dns.rdataset.from_text("IN", kind, 0, *records))

    return put


class SignedDns:
    """
    Both servers, running. `zones` are (zone name, text of its records); those in `unsigned` have no signatures.

    Ask the resolver at 127.0.0.1, `port`; at `authority` is NSD, which validates nothing.
    """

    def __init__(
        self, top: Path, zones: Mapping[str, str], *, unsigned: tuple[str, ...] = (), forge: Mapping[str, Forge]
    ) -> None:
        nsd, unbound = program("nsd", "nsd"), program("unbound", "unbound")
        self.top = top
        self.port, self.authority = free_port(), free_port()
        self._unsigned = unsigned
        self._serial = 1
        self._keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("test.", *zones)}
        for name, text in zones.items():
            self._write(name, text, forge.get(name))
        delegations = "".join(self._delegation(name) for name in zones)
        self._write("test.", f"ns 0 IN A 127.0.0.1\n{delegations}", None)
        names = ("test.", *zones)
        config = _NSD.format(port=self.authority, top=top) + "".join(_ZONE.format(name=name) for name in names)
        (top / "nsd.conf").write_text(config)
        config = _UNBOUND.format(port=self.port, top=top, anchor=f"test. 0 IN DS {self._ds('test.')}")
        config += "".join(_STUB.format(name=name, port=self.authority) for name in names)
        (top / "unbound.conf").write_text(config)
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._nsd = self._start(nsd, "-d", "-c", str(top / "nsd.conf"))
            self._start(unbound, "-d", "-c", str(top / "unbound.conf"))
            for port in (self.authority, self.port):
                eventually(functools.partial(self._serial_at, port), f"the start of the DNS: {self.told()}")
        except BaseException:
            self.stop()
            raise

    def publish(self, name: str, text: str) -> None:
        """Another content for a zone, signed anew; it is served when this returns."""
        self._serial += 1
        self._write(name, text, None)
        self._nsd.send_signal(signal.SIGHUP)
        eventually(lambda: self._serial_at(self.authority, name) == self._serial, f"the new zone: {self.told()}")

    def told(self) -> str:
        """The ends of the logs."""
        return "\n".join(log.read_text(errors="replace")[-2000:] for log in self.top.glob("*.log"))

    def stop(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.top / f"{Path(command[0]).name}.out.log").open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._processes.append(process)
        return process

    def _dnskey(self, name: str) -> DNSKEY:
        return dns.dnssec.make_dnskey(self._keys[name].public_key(), "ECDSAP256SHA256", flags=257)

    def _ds(self, name: str) -> str:
        return dns.dnssec.make_ds(name, self._dnskey(name), "SHA256").to_text()

    def _delegation(self, name: str) -> str:
        signed = "" if name in self._unsigned else f"{name} 0 IN DS {self._ds(name)}\n"
        return f"{name} 0 IN NS ns.test.\n{signed}"

    def _write(self, name: str, text: str, forge: Forge | None) -> None:
        zone = dns.zone.from_text(_BEGIN.format(serial=self._serial) + text, name, relativize=False)
        if name not in self._unsigned:
            now = int(time.time())
            key = self._keys[name], self._dnskey(name)
            dns.dnssec.sign_zone(zone, keys=[key], dnskey_ttl=0, inception=now - _DAY, expiration=now + _DAY)
        if forge is not None:
            forge(zone)
        zone.to_file(str(self.top / f"{name}zone"), relativize=False)

    def _serial_at(self, port: int, name: str = "test.") -> int:
        try:
            answer = dns.query.udp(dns.message.make_query(name, "SOA"), "127.0.0.1", 1, port)
        except (OSError, dns.exception.DNSException):
            return 0
        return int(answer.answer[0][0].serial) if answer.answer else 0
