"""
Postfix's smtp-sink as a server with something missing, and as one that misbehaves. Needs Debian's postfix.

What a server does not offer must cost the mail nothing; what it does wrong must never bounce it (RFC 5321 3.8).
"""

from __future__ import annotations

from tests.end_to_end.daemon import Daemon, eventually, free_port, route
from tests.real_peers.crossing import EIGHT_BIT, FROM_US, RealPeerCase, crossing, eight_bit, parsed
from tests.real_peers.wiretap import Wiretap

_HELLO = b"Subject: hi\r\n\r\nhello\r\n"


class PoorServerTests(RealPeerCase):
    def _sink(self, *options: str, more: str = "") -> tuple[Daemon, Wiretap]:
        port = free_port()
        self.taken = self.sink(port, *options)
        tap = self.tap(port)
        return self.daemon(route("*@sink.test", tap.port) + more), tap

    @crossing("smtp-sink", FROM_US, "no extensions")
    def test_no_esmtp(self) -> None:
        """A server that only knows HELO gets its mail without any parameter (RFC 5321 3.2)."""
        daemon, tap = self._sink("-e")
        self.send(daemon.port, "carol@example.org", "dave@sink.test", _HELLO)
        self.arrived(self.taken.messages, tap)
        self.assert_client_said(tap, "HELO mx.test\r\n", "MAIL FROM:<carol@example.org>\r\n")

    @crossing("smtp-sink", FROM_US, "no PIPELINING", "no ENHANCEDSTATUSCODES")
    def test_no_pipelining(self) -> None:
        """Without PIPELINING each command waits for its reply (RFC 2920 3.1)."""
        daemon, tap = self._sink("-p", "-E")
        self.send(daemon.port, "carol@example.org", "dave@sink.test", _HELLO)
        self.arrived(self.taken.messages, tap)
        for said in tap.parts("C:"):
            self.assertLessEqual(said.count(b"RCPT TO") + said.count(b"MAIL FROM") + said.count(b"DATA\r\n"), 1)

    @crossing("smtp-sink", FROM_US, "no 8BITMIME: as it is")
    def test_eight_bit_as_it_is(self) -> None:
        """By default 8-bit content goes to a server without 8BITMIME as it is, undeclared."""
        daemon, tap = self._sink("-8")
        content = eight_bit("carol@example.org", "dave@sink.test")
        self.send(daemon.port, "carol@example.org", "dave@sink.test", content, mail=("BODY=8BITMIME",))
        self.assertIn("Grüße aus Köln", self.arrived(self.taken.messages, tap))
        self.assert_client_did_not_say(tap, "BODY=")

    @crossing("smtp-sink", FROM_US, "no 8BITMIME: converted")
    def test_eight_bit_converted(self) -> None:
        """`client.eight_bit = "convert"` makes it seven bits that decode to the same text (RFC 6152 3)."""
        daemon, tap = self._sink("-8", more='\n[client]\neight_bit = "convert"\n')
        content = eight_bit("carol@example.org", "dave@sink.test")
        self.send(daemon.port, "carol@example.org", "dave@sink.test", content, mail=("BODY=8BITMIME",))
        taken = self.arrived(self.taken.messages, tap)
        self.assertTrue(taken.isascii(), taken)
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), parsed(_without_envelope(taken)).get_content())

    @crossing("smtp-sink", FROM_US, "no 8BITMIME: returned")
    def test_eight_bit_returned(self) -> None:
        """`client.eight_bit = "bounce"` returns it to the sender (RFC 6152 3)."""
        daemon, tap = self._sink("-8", more='\n[client]\neight_bit = "bounce"\n')
        content = eight_bit("alice@local.test", "dave@sink.test")
        self.send(daemon.port, "alice@local.test", "dave@sink.test", content, mail=("BODY=8BITMIME",))
        self.assertIn("Status: 5.6.3\n", self.mail_in(daemon, "alice", tap))
        self.assertEqual([], self.taken.messages())

    @crossing("smtp-sink", FROM_US, "no SMTPUTF8")
    def test_no_smtputf8(self) -> None:
        """An international address cannot go to a server without SMTPUTF8, and the sender hears so (RFC 6531 3.5)."""
        daemon, tap = self._sink()
        content = eight_bit("alice@local.test", "dörte@sink.test")
        self.send(daemon.port, "alice@local.test", "dörte@sink.test", content, mail=("BODY=8BITMIME", "SMTPUTF8"))
        self.assertIn("Status: 5.6.7\n", self.mail_in(daemon, "alice", tap))
        self.assert_client_did_not_say(tap, "RCPT TO")

    @crossing("smtp-sink", FROM_US, "no DSN")
    def test_no_dsn(self) -> None:
        """To a server without DSN no parameter goes, and who asked for success hears "relayed" (RFC 3461 5.2.2)."""
        daemon, tap = self._sink("-N")
        self.send(
            daemon.port, "alice@local.test", "dave@sink.test", _HELLO, mail=("ENVID=QQ1",), rcpt=("NOTIFY=SUCCESS",)
        )
        self.assert_reported(self.mail_in(daemon, "alice", tap), "relayed", "dave@sink.test", "QQ1")
        self.assert_client_did_not_say(tap, "NOTIFY", "ENVID")

    @crossing("smtp-sink", FROM_US, "DSN")
    def test_never(self) -> None:
        """NOTIFY=NEVER is passed on, and no failure is told of (RFC 3461 4.1)."""
        daemon, tap = self._sink("-f", "RCPT")
        self.send(daemon.port, "alice@local.test", "dave@sink.test", _HELLO, rcpt=("NOTIFY=NEVER",))
        eventually(lambda: "RCPT TO" in tap.client and not daemon.queued(), "the end of the message")
        self.assert_client_said(tap, "NOTIFY=NEVER")
        self.assertEqual([], daemon.mailbox("alice"))

    @crossing("smtp-sink", FROM_US, "LMTP")
    def test_lmtp(self) -> None:
        """smtp-sink's LMTP side takes a message for two (RFC 2033)."""
        port = free_port()
        taken = self.sink(port, "-L")
        tap = self.tap(port)
        daemon = self.daemon(f'\n[[route]]\nrecipients = ["*@sink.test"]\nnext_hop = "lmtp://127.0.0.1:{tap.port}"\n')
        with self.client(daemon.port) as client:
            client.sendmail("carol@example.org", ["dave@sink.test", "erin@sink.test"], _HELLO)
        self.arrived(taken.messages, tap)
        eventually(lambda: not daemon.queued(), "an empty queue")
        self.assert_client_said(tap, "LHLO mx.test\r\n")


# smtp-sink's options: -q hangs up without a word, -Q says 421 and hangs up, -r refuses for now.
_MISBEHAVIOUR = {
    "hangs up at MAIL": ("-q", "MAIL"),
    "hangs up at RCPT": ("-q", "RCPT"),
    "hangs up at DATA": ("-q", "DATA"),
    "hangs up at the dot": ("-q", "."),
    "421 at MAIL": ("-Q", "MAIL"),
    "421 at DATA": ("-Q", "DATA"),
    "421 at the dot": ("-Q", "."),
    "4xx to MAIL": ("-r", "MAIL"),
    "4xx to DATA": ("-r", "DATA"),
    "4xx to the content": ("-r", "."),
}


class BadServerTests(RealPeerCase):
    @crossing("smtp-sink", FROM_US, *_MISBEHAVIOUR)
    def test_misbehaviour(self) -> None:
        """However a server breaks off, the mail waits, and arrives once when the server behaves (RFC 5321 3.8)."""
        ports = {name: free_port() for name in _MISBEHAVIOUR}
        bad = {name: self.sink(ports[name], *options) for name, options in _MISBEHAVIOUR.items()}
        daemon = self.daemon("".join(route(f"*@{port}.sink.test", port) for port in ports.values()))
        for port in ports.values():
            daemon.submit("alice@local.test", f"dave@{port}.sink.test")
        eventually(lambda: all(row["attempts"] for row in daemon.queued()), "an attempt of each")
        self.assertEqual(len(ports), len(daemon.queued()))
        for sink in bad.values():
            sink.stop()
        # smtp-sink keeps the content before it answers the dot.
        before = {name: len(sink.messages()) for name, sink in bad.items()}
        good = {name: self.sink(port) for name, port in ports.items()}
        eventually(lambda: not daemon.queued(), "an empty queue")
        for name, sink in good.items():
            self.assertEqual(1, len(sink.messages()) - before[name], name)
        self.assertEqual([], daemon.mailbox("alice"))


def _without_envelope(taken: str) -> str:
    """The message in a file of smtp-sink's, which adds an mbox line, X- fields, and a blank line at the end."""
    return "".join(line for line in taken.splitlines(True)[:-1] if not line.startswith(("X-", "From ")))
