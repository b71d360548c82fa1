"""XCLIENT on a connection: the session that begins anew."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.policy.directory import Directory
from mta.policy.relay import RelayPolicy
from tests.policy.limits import limits_for_tests
from tests.server.fakes import HOSTNAME, STRANGER, TRUSTED, Client, Site, codes

FILTER = "198.51.100.9"
NAMED = b"XCLIENT NAME=far.example ADDR=203.0.113.7 PORT=4000\r\n"


def site(**changed: Any) -> Site:
    return Site(xclient=[f"{FILTER}/32", f"{TRUSTED}/32"], **changed)


def relays(client: Client) -> bool:
    client.say(b"EHLO x\r\n")
    client.say(b"MAIL FROM:<a@b.test>\r\n")
    return client.codes(b"RCPT TO:<x@far.test>\r\n") == ["250"]


class XclientTests(SynchronousTestCase):
    def test_session_begins_anew(self) -> None:
        """The greeting comes again, and the hello that was said before is forgotten."""
        here = site()
        client = here.hello(FILTER)
        self.assertEqual(b"220 mx.example.org ESMTP\r\n", client.say(NAMED))
        self.assertEqual(["503"], client.codes(b"MAIL FROM:<a@b.test>\r\n"))
        self.assertIn(b"250-XCLIENT ", client.say(b"EHLO x\r\n"))

    def test_every_split(self) -> None:
        """However the command is cut, and with commands behind it or not, the replies are the same."""
        wire = NAMED + b"EHLO x\r\n"
        for cut in range(len(wire)):
            client = site().hello(FILTER)
            found = client.codes(wire[:cut]) + client.codes(wire[cut:])
            self.assertEqual(["220", "250"], found, cut)

    def test_others(self) -> None:
        """Who is not listed is told 550, trusted or not; and so is whom a listed peer named, by another connection."""
        for host in (STRANGER, "10.0.0.99", "203.0.113.7"):
            here = site()
            client = here.hello(host)
            self.assertEqual(["550"], client.codes(NAMED))
            self.assertEqual(host, here.log[-1][1]["client"])
        self.assertEqual(["502"], Site().hello(FILTER).codes(NAMED))

    def test_rights(self) -> None:
        """What the client may do is judged by its new address: rights come and go."""
        for host, named, expected in (
            (FILTER, b"ADDR=203.0.113.7", False),
            (FILTER, b"ADDR=10.1.2.3", True),
            (TRUSTED, b"ADDR=203.0.113.7", False),
            (TRUSTED, b"ADDR=[UNAVAILABLE]", False),
            (TRUSTED, b"NAME=x.example", True),
            (FILTER, b"ADDR=10.1.2.3 HELO=x\r\nXCLIENT ADDR=203.0.113.7", False),
        ):
            client = site().hello(host)
            client.say(b"XCLIENT " + named + b"\r\n")
            self.assertEqual(expected, relays(client), named)

    def test_in_several_commands(self) -> None:
        """A second XCLIENT, of the same peer still, adds to the first; the address stays."""
        here = site()
        client = here.hello(FILTER)
        self.assertEqual(["220"], client.codes(NAMED))
        self.assertEqual(["220"], client.codes(b"XCLIENT HELO=far.example PROTO=ESMTP\r\n"))
        self.assertEqual(["250"], client.codes(b"MAIL FROM:<a@b.test>\r\n"))
        client.say(b"RCPT TO:<alice@local.test>\r\n")
        client.say(b"DATA\r\n")
        self.assertEqual(["250"], client.codes(b"hi\r\n.\r\n"))
        ((entry, origin, _claim),) = here.spool.committed
        self.assertTrue((entry.content or b"").startswith(b"Received: from far.example (far.example [203.0.113.7])"))
        self.assertEqual(
            ("203.0.113.7", "far.example", {"proxy": FILTER}), (origin.client, origin.helo, origin.details)
        )

    def test_logged(self) -> None:
        """Each use is a line in the log with all that was said, and with the peer's own address."""
        here = site()
        client = here.hello(FILTER)
        client.say(b"XCLIENT ADDR=203.0.113.7 LOGIN=bea+20x NAME=[UNAVAILABLE] DESTPORT=25\r\n")
        ((kind, fields),) = here.log
        self.assertEqual("xclient", kind)
        self.assertEqual(("203.0.113.7", FILTER), (fields["client"], fields["proxy"]))
        self.assertEqual(("bea x", "25", None), (fields["login"], fields["destport"], fields.get("name")))

    def test_places(self) -> None:
        """The peer's place is given back, and the named client takes one of its own, or is sent away."""
        here = site(limits=limits_for_tests(connections_per_client=1))
        first = here.hello(FILTER)
        self.assertEqual(["220"], first.codes(NAMED))
        second = here.hello(FILTER)
        self.assertEqual(["421"], second.codes(NAMED))
        self.assertFalse(second.open)
        told = ["xclient", "connection-refused", "connection-closed", "session-transcript"]
        self.assertEqual(told, here.kinds[-4:])
        self.assertEqual({"203.0.113.7"}, {fields["client"] for _kind, fields in here.log})
        third = here.hello(FILTER)
        self.assertEqual(["220"], third.codes(b"XCLIENT ADDR=203.0.113.8\r\n"))
        for client in (first, third):
            client.vanish()
        self.assertEqual(0, here.connections.total)

    def test_rate(self) -> None:
        """The rate of connections counts the named client, once however many XCLIENT speak of it."""
        here = site(limits=limits_for_tests(connection_rate=2))
        client = Client(here, TRUSTED)
        client.heard()
        found = [client.codes(b"XCLIENT ADDR=203.0.113.%d\r\n" % number) for number in (7, 7, 7, 8, 7, 8, 7)]
        self.assertEqual([["220"]] * 6 + [["421"]], found)

    def test_refused_network(self) -> None:
        """A client in relay.refused gets the greeting that it would have got: 554."""
        policy = RelayPolicy(
            Directory(domains=[], users=[], hostname=HOSTNAME),
            networks=[],
            relay_domains=[],
            refused=["203.0.113.0/24"],
        )
        here = site(policy=policy)
        client = here.hello(FILTER)
        self.assertEqual(["554"], client.codes(NAMED))
        self.assertEqual(["503"], client.codes(b"EHLO x\r\n"))
        self.assertEqual(["221"], client.codes(b"QUIT\r\n"))

    def test_behind_a_proxy(self) -> None:
        """Whom the PROXY header names may use it where that one is listed; whom it can't name may not."""
        for header, code in ((b"PROXY TCP4 198.51.100.9 192.0.2.1 1 25\r\n", "220"), (b"PROXY UNKNOWN\r\n", "550")):
            here = site(proxies=["198.51.100.9/32"])
            client = Client(here, FILTER)
            client.say(header)
            here.settle()
            client.heard()
            client.say(b"EHLO x\r\n")
            self.assertEqual([code], client.codes(NAMED), header)

    def test_stop(self) -> None:
        """A stop ends such a session as any other."""
        here = site()
        client = here.hello(FILTER)
        client.say(NAMED)
        stopped = here.factory.stop()
        self.assertEqual(["421"], codes(client.heard()))
        self.successResultOf(stopped)
        self.assertEqual([], here.clock.getDelayedCalls())
