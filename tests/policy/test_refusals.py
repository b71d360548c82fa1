"""Refusing the recipients of an `error:` route."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.policy.directory import Directory
from mta.policy.refusals import RefusingPolicy
from mta.reply import Reply

CLOSED = Reply(550, ("closed",), "5.2.1")
BUSY = Reply(450, ("busy",), "4.2.1")
REPLIES = {"closed": CLOSED, "busy": BUSY}


def policy() -> RefusingPolicy:
    directory = Directory(
        domains=["local.test"],
        users=["alice", "closed", "busy"],
        aliases={"both": ("alice", "closed"), "none": ("closed", "busy")},
        moved={"gone": "closed@far.test"},
        moved_forwards=True,
        hostname="mx.test",
    )
    return RefusingPolicy(
        directory, lambda address: REPLIES.get(address.local), networks=[], relay_domains=["relay.test"], refused=[]
    )


class RefusalTests(SynchronousTestCase):
    def asked(self, text: str, trusted: bool = False) -> tuple[int | None, tuple[Address, ...]]:
        verdict = policy().recipient(parse_address(text), trusted)
        return verdict.reply.code if verdict.reply else None, verdict.recipients

    def test_route(self) -> None:
        """Who is routed to an error is refused with its text, for good or for now; all others are not."""
        self.assertEqual((550, ()), self.asked("closed@local.test"))
        self.assertEqual((450, ()), self.asked("busy@relay.test"))
        self.assertEqual((None, ()), self.asked("alice@local.test"))
        self.assertEqual(CLOSED, policy().recipient(parse_address("closed@far.test"), True).reply)

    def test_alias(self) -> None:
        """An alias is refused where all of its members are: one that can be reached has his mail."""
        self.assertEqual(
            (None, tuple(map(parse_address, ("alice@local.test", "closed@local.test")))), self.asked("both@local.test")
        )
        self.assertEqual((550, ()), self.asked("none@local.test"))
        self.assertEqual((550, ()), self.asked("gone@local.test"))

    def test_strangers_learn_nothing(self) -> None:
        """Whoever may not send there is told that, and not of the route."""
        self.assertEqual(
            "5.7.1", (policy().recipient(parse_address("closed@far.test"), False).reply or CLOSED).enhanced
        )
        self.assertEqual("5.1.1", (policy().recipient(parse_address("x@local.test"), False).reply or CLOSED).enhanced)
