"""The machine's clock is set forward and back by a day under the running daemon."""

from __future__ import annotations

import os
import signal
import smtplib
import sys

from tests.end_to_end import daemon as programs
from tests.end_to_end.daemon import PATIENCE, Daemon, EndToEndCase, eventually, free_port, route

# twistd with a clock that SIGUSR1 sets forward by a day, and SIGUSR2 back: nobody sets the machine's own for a test.
_TWISTD = """
import signal, time
real, shift = time.time, [0.0]
time.time = lambda: real() + shift[0]
def jump(number, _frame):
    shift[0] += 86_400.0 if number == signal.SIGUSR1 else -86_400.0
signal.signal(signal.SIGUSR1, jump)
signal.signal(signal.SIGUSR2, jump)
from twisted.scripts.twistd import run
run()
"""
_LIFETIME = '\nlifetime = "2h"\n'


class ClockTests(EndToEndCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(programs, "TWISTD", [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile="])

    def jump(self, daemon: Daemon, number: signal.Signals) -> None:
        assert daemon.process is not None
        os.kill(daemon.process.pid, number)

    def test_set_forward(self) -> None:
        """A day forward: nothing expires or bounces, no session is cut, and what waits is tried in its turn."""
        self.go_through(signal.SIGUSR1)

    def test_set_back(self) -> None:
        """A day back: the same, and nothing waits for the day to come round again."""
        self.go_through(signal.SIGUSR2)

    def go_through(self, number: signal.Signals) -> None:
        port = free_port()
        daemon = self.daemon(_LIFETIME + route("*@sink.test", port))
        identity = daemon.submit("carol@local.test", "dave@sink.test")
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE) as client:
            client.ehlo("client.test")
            self.jump(daemon, number)
            eventually(lambda: "clock was set" in daemon.output.read_text(), "a line about it")
            self.assertEqual(250, client.noop()[0])
            later = daemon.submit("carol@local.test", "erin@sink.test")
            self.assertEqual(250, client.noop()[0])
        sink = self.sink(port)
        eventually(lambda: not daemon.queued(), "an empty queue")
        self.assertEqual(2, len(sink.messages()))
        for one in (identity, later):
            self.assertEqual("delivered", daemon.kinds(one)[-1])
            self.assertLess(len(daemon.kinds(one)), 40)
