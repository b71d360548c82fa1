"""resolv.conf(5)."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.dns.servers import Trust, are_trusted, servers_in, system_servers


class ServersTests(SynchronousTestCase):
    def test_table(self) -> None:
        """resolv.conf(5): nameserver lines, at most three; without any, the local machine."""
        local = ("127.0.0.1", 53)
        table = {
            "": [local],
            "# nameserver 192.0.2.1\n;nameserver 192.0.2.2\nsearch test\noptions edns0": [local],
            "nameserver 192.0.2.1\r\nnameserver\t2001:db8::1 # why\n": [("192.0.2.1", 53), ("2001:db8::1", 53)],
            "nameserver fe80::1%eth0\n": [("fe80::1%eth0", 53)],
            "nameserver ns.test\nnameserver\nnameserver 192.0.2.1": [("192.0.2.1", 53)],
            "\n".join(f"nameserver 192.0.2.{number}" for number in range(5)): [
                (f"192.0.2.{number}", 53) for number in range(3)
            ],
        }
        for text, servers in table.items():
            self.assertEqual(servers_in(text), servers, text)

    def test_trust(self) -> None:
        """RFC 4035 4.9.3: loopback is a secure path; one server elsewhere spoils it; the operator may vouch for any."""
        local, far = [("127.0.0.1", 53), ("::1", 5353)], [("127.0.0.53", 53), ("192.0.2.1", 53)]
        table: list[tuple[list[tuple[str, int]], Trust, bool]] = [
            (local, "local", True),
            (local, "none", False),
            (far, "local", False),
            (far, "all", True),
            (far, "none", False),
        ]
        for servers, trust, trusted in table:
            self.assertIs(are_trusted(servers, trust), trusted, (servers, trust))

    def test_file(self) -> None:
        """A missing file means the local machine; one that can't be read is an error."""
        path = Path(self.mktemp())
        self.assertEqual(system_servers(path), [("127.0.0.1", 53)])
        path.write_bytes(b"nameserver 192.0.2.1\n\xff\n")
        self.assertEqual(system_servers(path), [("192.0.2.1", 53)])
        self.assertRaises(OSError, system_servers, path.parent)
