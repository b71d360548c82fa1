"""The real daemon and a next hop that takes a message and does not say so."""

from __future__ import annotations

import signal
from typing import Any

from mta.cli.daemon import Connection
from tests.end_to_end.daemon import Daemon, EndToEndCase, eventually, free_port, route

HOLD = '\n[client]\nin_doubt = "hold"\n'


class InDoubtTests(EndToEndCase):
    def in_doubt(self, daemon: Daemon) -> list[dict[str, Any]]:
        return daemon.rows("queue", "list", "--state", "in-doubt")

    def status(self, daemon: Daemon) -> Any:
        with Connection(daemon.state / "control") as connection:
            list(connection.ask("status", {}))
            return connection.result

    def test_hangs_up_behind_the_dot(self) -> None:
        """Tried again by default: in doubt until a next hop answers, delivered then, and the trace tells both."""
        port = free_port()
        sink = self.sink(port, "-q", ".")
        daemon = self.daemon(route("*@sink.test", port))
        identity = daemon.submit("carol@example.org", "dave@sink.test")
        (row,) = eventually(lambda: self.in_doubt(daemon), "the doubt")
        self.assertEqual((identity, "dave@sink.test"), (row["id"], row["recipient"]))
        self.assertIn("in doubt", row["last_reply"])
        counts = {row["state"]: row["count"] for row in daemon.rows("queue", "count")}
        self.assertEqual({"queued": 0, "held": 0, "quarantined": 0, "in-doubt": 1}, counts)
        sink.stop()
        self.sink(port)
        eventually(lambda: not daemon.queued(), "an empty queue")
        kinds = daemon.kinds(identity)
        self.assertIn("in-doubt", kinds)
        self.assertEqual("delivered", kinds[-1])

    def test_held(self) -> None:
        """Held where the configuration says so: it waits through a restart, is counted, and goes when released."""
        port = free_port()
        sink = self.sink(port, "-q", ".")
        daemon = self.daemon(HOLD + route("*@sink.test", port))
        identity = daemon.submit("carol@example.org", "dave@sink.test")
        (row,) = eventually(lambda: self.in_doubt(daemon), "the doubt")
        self.assertIsNone(row["due"])
        sink.stop()
        self.assertEqual(1, self.status(daemon)["in_doubt"])
        daemon.stop()
        sink = self.sink(port)
        daemon.start()
        self.assertEqual([identity], [row["id"] for row in self.in_doubt(daemon)])
        self.assertEqual(0, daemon.mta("queue", "release", "--state", "in-doubt").returncode)
        eventually(lambda: not daemon.queued(), "an empty queue")
        self.assertEqual(0, self.status(daemon)["in_doubt"])
        self.assertEqual(["accepted", "routed", "in-doubt", "released", "routed", "delivered"], daemon.kinds(identity))

    def test_killed_before_the_reply(self) -> None:
        """SIGKILL between the final dot and its reply: the next start finds the doubt, with the host, and holds it."""
        port = free_port()
        sink = self.sink(port, "-W", ".:20")
        daemon = self.daemon(HOLD + route("*@sink.test", port))
        identity = daemon.submit("carol@example.org", "dave@sink.test")
        eventually(lambda: any("hello" in message for message in sink.messages()), "the content at the sink")
        self.assertEqual([], self.in_doubt(daemon))
        daemon.stop(signal.SIGKILL)
        daemon.start()
        (row,) = self.in_doubt(daemon)
        self.assertEqual((identity, 1, None), (row["id"], row["attempts"], row["due"]))
        (found,) = (event for event in daemon.rows("trace", identity) if event["kind"] == "in-doubt")
        self.assertIn(f":{port}", found["detail"]["host"])
        self.assertEqual(0, daemon.mta("queue", "discard", "--state", "in-doubt").returncode)
        self.assertEqual([], daemon.queued())

    def test_stopped_before_the_reply(self) -> None:
        """A stop whose grace time is over before the reply is no different."""
        port = free_port()
        sink = self.sink(port, "-W", ".:25")
        daemon = self.daemon(HOLD + route("*@sink.test", port))
        daemon.submit("carol@example.org", "dave@sink.test")
        eventually(lambda: any("hello" in message for message in sink.messages()), "the content at the sink")
        daemon.stop()
        daemon.start()
        self.assertEqual(["dave@sink.test"], [row["recipient"] for row in self.in_doubt(daemon)])
