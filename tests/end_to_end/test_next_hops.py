"""A route with several next hops, the real daemon and real sockets: one of them goes and comes back."""

from __future__ import annotations

import signal

from tests.end_to_end.daemon import Daemon, EndToEndCase, Sink, eventually, free_port

ROUTE = """
[[route]]
recipients = ["*@far.test"]
next_hop = {hops}

[client]
next_hop_failures = 2
"""


class NextHopTests(EndToEndCase):
    def pair(self, weights: tuple[str, str] = ("", ""), workers: int = 1) -> tuple[Daemon, Sink, int, int]:
        """A daemon, the second next hop, and the ports of both."""
        ports = free_port(), free_port()
        hops = [f"smtp://127.0.0.1:{port}{weight}" for port, weight in zip(ports, weights, strict=True)]
        second = self.sink(ports[1])
        return self.daemon(ROUTE.format(hops=hops), workers), second, *ports

    def sent(self, daemon: Daemon) -> dict[str, object]:
        """The detail of the last event of a message, which was delivered."""
        identity = daemon.submit("alice@local.test", "bob@far.test")
        eventually(lambda: "delivered" in daemon.kinds(identity), "the delivery")
        detail: dict[str, object] = daemon.rows("trace", identity)[-1]["detail"]
        return detail

    def test_away_and_back(self) -> None:
        """
        The second has the mail, in the same attempt, while the first does not answer; then the first has it again. The
        trace of each message says so, and the log has a line for the rest and for its end.
        """
        daemon, second, port, other = self.pair()
        choices = []
        for _ in range(3):
            detail = self.sent(daemon)
            self.assertEqual((1, f"127.0.0.1[127.0.0.1]:{other}"), (detail["attempt"], detail["host"]))
            choices.append(str(detail["choice"]))
        self.assertEqual(3, len(second.messages()))
        self.assertIn(f"smtp://127.0.0.1:{other} (2 of 2), for 127.0.0.1:{port} did not do: cannot connect", choices[0])
        output = daemon.output.read_text()
        self.assertIn(f"next-hop-rested next_hop=127.0.0.1:{port} failures=2", output)
        first = self.sink(port)
        eventually(lambda: f"127.0.0.1:{port} (1 of 2)" in str(self.sent(daemon)["choice"]), "the first again")
        self.assertTrue(first.messages())
        self.assertIn(f"next-hop-answers next_hop=127.0.0.1:{port}", daemon.output.read_text())

    def test_reload(self) -> None:
        """With SIGHUP the order in the file counts, and nothing is lost on the way."""
        daemon, _second, port, other = self.pair()
        self.sink(port)
        self.assertEqual(f"smtp://127.0.0.1:{port} (1 of 2)", self.sent(daemon)["choice"])
        text = daemon.config.read_text()
        hops = [f"smtp://127.0.0.1:{each}" for each in (port, other)]
        daemon.config.write_text(text.replace(str(hops), str(hops[::-1])))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "was read again" in daemon.output.read_text(), "the word of the new configuration")
        self.assertEqual(f"smtp://127.0.0.1:{other} (1 of 2)", self.sent(daemon)["choice"])

    def test_weights(self) -> None:
        """By weight both have mail, and the reserve of weight 0 has none."""
        daemon, second, port, _other = self.pair(("?weight=1", "?weight=0"))
        self.sink(port)
        for _ in range(3):
            self.assertEqual(f"smtp://127.0.0.1:{port} (1 of 2, weight 1 of 1)", self.sent(daemon)["choice"])
        self.assertEqual([], second.messages())
