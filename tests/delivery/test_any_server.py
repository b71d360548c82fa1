"""Whatever two servers do, a delivery ends, tells the truth and leaves nothing behind."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.health import Health
from mta.delivery.remote import RemoteAgent
from mta.dns.fake import FakeResolver
from mta.outcome import Delivered, Failure
from tests.delivery.material import LIMITS, ONE, TEXT, TIMEOUTS, TWO, Content, delivery, remote
from tests.delivery.network import Network
from tests.peers.scripted import CHUNKING, OK, PIPELINING, SILENCE, Close, Script, ScriptedServer, Step

LIMITED = CHUNKING.replace(b"250 E", b"250-LIMITS RCPTMAX=1 MAILMAX=2\r\n250 E")
REFUSALS: list[Step] = [
    b"452 4.5.3 too many\r\n",
    b"450 4.2.1 later\r\n",
    b"550 5.1.1 no\r\n",
    b"421 4.3.2 closing\r\n",
    b"nonsense\r\n",
    b"250-",
    SILENCE,
    Close(),
    Close(b"421 4.3.2 closing\r\n"),
    Close(b"554 5.0.0 go away\r\n"),
]
ANSWERS: list[Step] = [OK, OK, b"354 go\r\n", b"220 hello\r\n", PIPELINING, b"250 no extensions\r\n", Close(OK)]
STAGES = ("greeting", "EHLO", "HELO", "MAIL", "RCPT", "DATA", ".", "BDAT", "LAST", "RSET", "QUIT")


def steps(among: list[Step]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.sampled_from(among), min_size=1, max_size=3)


# A server that says 250 within the content, before it has all of it, lies to us: nobody can tell.
ODDITY = st.one_of(
    st.tuples(st.sampled_from(STAGES), steps(ANSWERS + REFUSALS)),
    st.tuples(st.just("content"), steps(REFUSALS)),
)
# A few oddities each: with more of them no server would get past its greeting.
SCRIPT = st.lists(ODDITY, max_size=3).map(dict)


class AnyServerTests(SynchronousTestCase):
    @settings(max_examples=250, derandomize=True, deadline=None)
    @given(SCRIPT, SCRIPT, st.sampled_from([None, 7]), st.sampled_from([PIPELINING, CHUNKING, LIMITED]))
    def test_any_servers(self, first: Script, second: Script, chunk_size: int | None, hello: bytes) -> None:
        """
        Each delivery ends with one outcome for each recipient, "delivered" only where a server has the whole message,
        a failure only after a 5xx; in the end no connection and no timer is left.
        """
        servers = [ScriptedServer({"EHLO": hello, **first}), ScriptedServer({"EHLO": hello, **second})]
        network = Network({("192.0.2.1", 25): servers[0], ("192.0.2.2", 25): servers[1]})
        agent = RemoteAgent(
            reactor=network,
            resolver=FakeResolver(),
            timeouts=TIMEOUTS,
            limits=LIMITS,
            hello="client.test",
            health=Health(60.0, 3600.0),
            rng=random.Random(1),
            bdat=True,
        )
        for _ in range(3):
            stored = sum(len(server.messages) for server in servers)
            content = Content(TEXT, chunk_size)
            waiting = agent.deliver(delivery(remote("192.0.2.1", "192.0.2.2"), (ONE, TWO), content))
            network.pass_time(20_000)
            outcomes = self.successResultOf(waiting)
            self.assertEqual({ONE, TWO}, set(outcomes))
            messages = [message for server in servers for message in server.messages]
            if any(isinstance(outcome, Delivered) for outcome in outcomes.values()):
                self.assertIn(TEXT, messages)
                self.assertGreater(len(messages), stored)
            for outcome in outcomes.values():
                if isinstance(outcome, Failure):
                    assert outcome.reply is not None
                    self.assertTrue(outcome.reply.is_permanent)
        agent.stop()
        network.pass_time(1000)
        self.assertTrue(all(session.gone for server in servers for session in server.sessions))
        self.assertEqual([], network.getDelayedCalls())
