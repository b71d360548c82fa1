"""Which mail goes on with another sender, and which of it comes back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.policy.directory import Directory
from mta.policy.forwarding import Forwarding
from mta.policy.relay import RelayPolicy
from mta.policy.returning import Returning
from mta.policy.signing import Keys
from mta.policy.srs import Srs

NOW = 1_577_836_860.0
SRS = Srs("srs.test", Keys(["a secret that nobody knows"]))
FAR = parse_address("carol@far.test")


class ForwardingTests(SynchronousTestCase):
    def test_who_gets_another_sender(self) -> None:
        """Only what was forwarded to another's host; ours, bounces, and what would be too long keep what they have."""
        forwarding = Forwarding(SRS, ["a.test", "mx.a.test"], lambda: NOW)
        other = parse_address("x@other.test")
        named = "team@a.test"
        self.assertEqual(SRS.forward(FAR, NOW), forwarding.sender(FAR, other, named))
        for sender, recipient, name in (
            (FAR, other, ""),
            (None, other, named),
            (parse_address("bob@a.test"), other, named),
            (FAR, parse_address("bob@a.test"), named),
            (Address("a" * 60, "far.test"), other, named),
            (parse_address("x@srs.test"), other, named),
        ):
            self.assertIsNone(forwarding.sender(sender, recipient, name), (sender, recipient, name))

    def test_who_comes_back(self) -> None:
        """A sender that we have rewritten is a recipient for anyone, for three weeks; all others are judged as ever."""
        now = [NOW]
        rules = RelayPolicy(
            Directory(domains=["a.test"], users=["srs0-fan"], hostname="mx.a.test"), networks=[], relay_domains=[]
        )
        policy = Returning(rules, SRS, lambda: now[0])
        back = SRS.forward(FAR, NOW)
        assert back is not None
        verdict = policy.recipient(back, False)
        self.assertEqual((None, (FAR,)), (verdict.reply, verdict.recipients))
        for text, code in {
            "SRS0=abcd=2W=far.test=carol@srs.test": 550,
            "srs0@srs.test": 550,
            "carol@srs.test": 550,
            "carol@far.test": 550,
        }.items():
            self.assertEqual(code, policy.recipient(parse_address(text), False).reply.code, text)
        self.assertTrue(policy.recipient(parse_address("srs0-fan@a.test"), False).accepts)
        now[0] += 22 * 86_400
        self.assertEqual(550, policy.recipient(back, False).reply.code)
