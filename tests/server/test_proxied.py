"""Connections from proxies: the PROXY header, and the session behind it."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.policy.limits import limits_for_tests
from tests.server.fakes import STRANGER, TRUSTED, Client, Site, codes, without_trace
from tests.smtp_server.test_proxy_header import BAD, GOOD, V4, v2

PROXY = "198.51.100.9"
NAMED = b"PROXY TCP4 203.0.113.7 192.0.2.1 56301 25\r\n"
LOCAL = v2(0x20, 0, b"")
UNKNOWN = b"PROXY UNKNOWN\r\n"


def header(client: str, port: int = 4000) -> bytes:
    kind = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {kind} {client} {client} {port} 25\r\n".encode()


def site(**changed: Any) -> Site:
    return Site(proxies=[f"{PROXY}/32", "2001:db8:1::/64", "10.0.0.7/32"], **changed)


class HeaderTests(SynchronousTestCase):
    def test_nothing_before_the_header(self) -> None:
        """The proxy hears nothing before it has named the client; then the client is greeted as any other."""
        here = site()
        client = Client(here, PROXY)
        here.settle()
        self.assertEqual(b"", client.heard())
        client.say(NAMED)
        here.settle()
        self.assertEqual(b"220 ", client.heard()[:4])

    def test_every_split(self) -> None:
        """However the header is cut, and with the first command right behind it or not, it is the same session."""
        for wire, source, _local in GOOD:
            cuts = range(len(wire)) if len(wire) < 300 else (1, 12, 16, 52, len(wire) - 1)
            for cut in cuts:
                here = site()
                client = Client(here, PROXY)
                client.say(wire[:cut])
                here.settle()
                self.assertEqual(b"", client.heard(), wire[:cut])
                client.say(wire[cut:])
                here.settle()
                client.heard()
                client.say(b"EHLO x\r\n")
                client.say(b"MAIL FROM:<a@b.test>\r\n")
                self.assertEqual(["550"], client.codes(b"RCPT TO:<x@far.test>\r\n"))
                (_kind, fields) = here.log[-1]
                self.assertEqual((source[0] if source else PROXY, PROXY), (fields["client"], fields["proxy"]), wire)
                client.vanish()
                self.assertEqual([], here.clock.getDelayedCalls())
                self.assertEqual(0, here.connections.total)

    def test_octet_by_octet(self) -> None:
        """A header that comes octet by octet is a header."""
        here = site()
        client = Client(here, PROXY)
        for octet in NAMED:
            self.assertEqual(b"", client.say(bytes((octet,))))
        here.settle()
        self.assertEqual(b"220 ", client.heard()[:4])

    def test_talking_early(self) -> None:
        """A client that talks before its greeting is told so behind a proxy, too: no second header is looked for."""
        for early in (b"EHLO x\r\n", NAMED):
            here = site()
            client = Client(here, PROXY)
            self.assertEqual(["554"], client.codes(NAMED + early))
            self.assertFalse(client.open)
            self.assertEqual([("connection-closed", "203.0.113.7")], [(kind, f["client"]) for kind, f in here.log])

    def test_header_behind_the_banner(self) -> None:
        """A header that comes when the session has begun is an unknown command, and changes nothing."""
        here = site()
        client = Client(here, PROXY)
        client.say(NAMED)
        here.settle()
        client.heard()
        self.assertEqual(["500"], client.codes(header("10.0.0.1")))
        self.assertEqual("203.0.113.7", here.log[-1][1]["client"])

    def test_bad(self) -> None:
        """Without a proper header the connection is dropped: no greeting, no reply, one line in the log."""
        for wire in BAD:
            here = site()
            client = Client(here, PROXY)
            self.assertEqual(b"", client.say(wire), wire)
            self.assertTrue(client.wire.aborted, wire)
            self.assertEqual([], here.clock.getDelayedCalls())
            ((kind, fields),) = here.log
            self.assertEqual(("proxy-refused", PROXY, "relay"), (kind, fields["proxy"], fields["listener"]))
            self.assertTrue(fields["reason"])

    def test_late(self) -> None:
        """A header that is late is not waited for, whether some of it has come or nothing."""
        for start in (b"", b"P", NAMED[:-1]):
            here = site()
            client = Client(here, PROXY)
            client.say(start)
            here.clock.pump([1.0] * 4)
            self.assertTrue(client.open)
            here.clock.advance(1)
            self.assertTrue(client.wire.aborted)
            self.assertEqual([("proxy-refused", "no PROXY header within 5 s")], [(k, f["reason"]) for k, f in here.log])
            self.assertEqual([], here.clock.getDelayedCalls())

    def test_looking_whether_the_port_is_open(self) -> None:
        """A proxy that connects and goes away says nothing, and nor does the log; half a header is told."""
        for sent, told in ((b"", []), (NAMED[:9], ["proxy-refused"])):
            for half in (False, True):
                here = site()
                client = Client(here, PROXY)
                client.say(sent)
                if half:
                    client.server.readConnectionLost()
                client.vanish()
                self.assertEqual(told, here.kinds)
                self.assertEqual([], here.clock.getDelayedCalls())

    def test_end_of_the_client(self) -> None:
        """A client that shuts down its sending side behind its last command gets its replies through the proxy."""
        here = site()
        client = Client(here, PROXY)
        client.say(NAMED)
        here.settle()
        client.heard()
        client.server.dataReceived(b"QUIT\r\n")
        self.assertEqual(["221"], codes(client.heard()))


class WhoTests(SynchronousTestCase):
    def enter(self, here: Site, wire: bytes, peer: str = PROXY) -> Client:
        client = Client(here, peer)
        client.server.dataReceived(wire)
        here.settle()
        return client

    def relays(self, wire: bytes, peer: str = PROXY) -> bool:
        """Whether a client that comes with this header may send to anyone."""
        client = self.enter(site(), wire, peer)
        client.say(b"EHLO x\r\n")
        client.say(b"MAIL FROM:<a@b.test>\r\n")
        return client.codes(b"RCPT TO:<x@far.test>\r\n") == ["250"]

    def test_strangers_are_plain_clients(self) -> None:
        """Who is no proxy is a client, and its header is talk before the greeting, or an unknown command."""
        for peer in (STRANGER, TRUSTED):
            here = site()
            client = Client(here, peer)
            here.settle()
            self.assertEqual(b"220 ", client.heard()[:4])
            self.assertEqual(["500"], client.codes(NAMED))
            self.assertEqual(peer, here.log[-1][1]["client"])
            self.assertNotIn("proxy", here.log[-1][1])
        early = Client(site(), STRANGER)
        self.assertEqual(["554"], early.codes(header(TRUSTED)))

    def test_without_proxies(self) -> None:
        """A listener that names no proxies believes nobody."""
        here = Site()
        self.assertEqual(["554"], Client(here, PROXY).codes(NAMED))

    def test_unix_peer(self) -> None:
        """A peer without an address of its own is in no network."""
        client = Client(site(), peer=UNIXAddress("/run/x"))
        self.assertEqual(["554"], client.codes(NAMED))

    def test_mapped(self) -> None:
        """A proxy that reaches an IPv6 socket over IPv4 is the proxy that is listed."""
        here = site()
        client = self.enter(here, NAMED, f"::ffff:{PROXY}")
        self.assertEqual(b"220 ", client.heard()[:4])

    def test_rights(self) -> None:
        """Relaying is the right of the client; of the proxy's network only for the proxy itself."""
        self.assertFalse(self.relays(header(STRANGER)))
        self.assertTrue(self.relays(header(TRUSTED)))
        self.assertFalse(self.relays(header(STRANGER), "10.0.0.7"))
        self.assertTrue(self.relays(LOCAL, "10.0.0.7"))
        self.assertFalse(self.relays(LOCAL))

    def test_unknown_has_no_rights(self) -> None:
        """Whom a trusted proxy can't name may not relay: it could be anyone."""
        for wire in (UNKNOWN, v2(0x21, 0, b""), v2(0x21, 0x12, V4)):
            self.assertFalse(self.relays(wire, "10.0.0.7"))

    def test_places(self) -> None:
        """Places are those of the client: many through one proxy do not crowd each other out, one client is held."""
        here = site(limits=limits_for_tests(connections_per_client=2))
        mixed = [self.enter(here, header(f"203.0.113.{number}")) for number in range(10)]
        self.assertEqual([["220"]] * 10, [codes(client.heard()) for client in mixed])
        crowd = [self.enter(here, header("203.0.113.1", 5000 + number)) for number in range(3)]
        self.assertEqual([["220"], ["421"], ["421"]], [codes(client.heard()) for client in crowd])
        self.assertEqual(("203.0.113.1", PROXY), (here.log[-1][1]["client"], here.log[-1][1]["proxy"]))
        self.assertEqual(["421"], codes(self.enter(here, header("203.0.113.1"), "10.0.0.7").heard()))
        for client in (*mixed, *crowd):
            client.vanish()
        self.assertEqual(0, here.connections.total)

    def test_rate(self) -> None:
        """The rate of connections counts the client, whichever way it comes, and not the proxy."""
        here = site(limits=limits_for_tests(connection_rate=2))
        for number in range(10):
            client = self.enter(here, header(f"203.0.113.{number}"))
            self.assertEqual(["220"], codes(client.heard()))
            client.vanish()
        came = [self.enter(here, header("203.0.113.1")), self.enter(here, header("203.0.113.1"), "10.0.0.7")]
        came += [here.connect("203.0.113.1")]
        self.assertEqual([["220"], ["421"], ["421"]], [codes(client.heard()) for client in came])

    def test_message_rate(self) -> None:
        """The rate of messages counts the client as well."""
        here = site(limits=limits_for_tests(message_rate=1))
        for client, expected in (("203.0.113.1", "250"), ("203.0.113.2", "250"), ("203.0.113.1", "450")):
            entered = self.enter(here, header(client))
            entered.heard()
            entered.say(b"EHLO x\r\n")
            self.assertEqual([expected], entered.codes(b"MAIL FROM:<a@b.test>\r\n"), client)

    def test_message(self) -> None:
        """The trace field names the client; the accepted event names the proxy, too."""
        here = site()
        client = self.enter(here, header("2001:db8::7"))
        client.heard()
        for line in (b"EHLO x", b"MAIL FROM:<a@b.test>", b"RCPT TO:<alice@local.test>", b"DATA"):
            client.say(line + b"\r\n")
        self.assertEqual(["250"], client.codes(b"hi\r\n.\r\n"))
        ((entry, origin, _claim),) = here.spool.committed
        content = entry.content or b""
        self.assertTrue(content.startswith(b"Received: from x ([IPv6:2001:db8::7])"), content)
        self.assertEqual(b"hi\r\n", without_trace(content))
        self.assertEqual(("2001:db8::7", {"proxy": PROXY}), (origin.client, origin.details))

    def test_idle(self) -> None:
        """Behind the header the time of a session counts, and not that of the header."""
        here = site()
        client = self.enter(here, NAMED)
        client.heard()
        here.clock.pump([1.0] * 290)
        self.assertTrue(client.open)
        here.clock.pump([1.0] * 15)
        self.assertEqual(["421"], codes(client.heard()))


class StopTests(SynchronousTestCase):
    def test_stop(self) -> None:
        """A connection that has not named its client does not hold up a stop; one that has gets its 421."""
        here = site()
        waiting, named = Client(here, PROXY), Client(here, PROXY)
        named.say(NAMED)
        here.settle()
        named.heard()
        stopped = here.factory.stop()
        self.assertTrue(waiting.wire.aborted)
        self.assertEqual(["421"], codes(named.heard()))
        self.successResultOf(stopped)
        late = Client(here, PROXY)
        self.assertTrue(late.wire.aborted)

    def test_abort(self) -> None:
        """So does an abort."""
        here = site()
        waiting = Client(here, PROXY)
        here.factory.abort()
        self.assertTrue(waiting.wire.aborted)
        self.assertEqual(0, here.factory.sessions)
