"""SRS and VERP: the published examples, damage, forgery, rotation."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.policy.signing import Keys, SignatureError, age, day
from mta.policy.srs import Srs
from mta.policy.verp import Verp

# The tests of PostSRSd (tests/test_srs2.c, blackbox tests): secret, time and addresses.
NOW = 1_577_836_860  # 2020-01-01 00:01:00 UTC
SRS = Srs("example.com", Keys(["tops3cr3t"]))
DAY = 86_400

FORWARD = {
    "test@example.com": "test@example.com",
    "test@otherdomain.com": "SRS0=vmyz=2W=otherdomain.com=test@example.com",
    "SRS0=opaque+string@otherdomain.com": "SRS1=chaI=otherdomain.com==opaque+string@example.com",
    "SRS1=X=thirddomain.com==opaque+string@otherdomain.com": "SRS1=JIBX=thirddomain.com==opaque+string@example.com",
}
REVERSE = {
    "SRS0=XjO9=2V=otherdomain.com=test@example.com": "test@otherdomain.com",
    "SRS0=vmyz=2W=otherdomain.com=test@example.com": "test@otherdomain.com",
    "SRS1=JIBX=thirddomain.com==opaque+string@example.com": "SRS0=opaque+string@thirddomain.com",
    "srs0=xjo9=2v=otherdomain.com=test@example.com": "test@otherdomain.com",
    "SRS0=XJO9=2V=OTHERDOMAIN.COM=TEST@EXAMPLE.COM": "TEST@otherdomain.com",
}
REFUSED = {
    "SRS0=te87=T7=otherdomain.com=test@example.com": "out of date",  # older than six months
    "SRS0=VcIb=7N=otherdomain.com=test@example.com": "out of date",  # six months to come
    "SRS0=FAKE=2V=otherdomain.com=test@example.com": "not ours",
    "SRS1=FAKE=thirddomain.com==opaque+string@example.com": "not ours",
    "SRS0=XjO9@example.com": "not complete",
    "SRS0=XjO9=2V@example.com": "not complete",
    "SRS0=XjO9=2V=otherdomain.com@example.com": "not complete",
}


class VectorTests(SynchronousTestCase):
    def test_forward(self) -> None:
        """Senders become what PostSRSd makes of them."""
        for text, expected in FORWARD.items():
            self.assertEqual(expected, str(SRS.forward(parse_address(text), NOW)), text)

    def test_reverse(self) -> None:
        """What PostSRSd takes back we take back, after a change of case as well."""
        for text, expected in REVERSE.items():
            self.assertEqual(expected, str(SRS.reverse(parse_address(text), NOW)), text)

    def test_refused(self) -> None:
        """What PostSRSd refuses we refuse: forged, out of date, cut short."""
        for text, words in REFUSED.items():
            with self.assertRaises(SignatureError) as caught:
                SRS.reverse(parse_address(text), NOW)
            self.assertIn(words, str(caught.exception), text)


class SrsTests(SynchronousTestCase):
    def test_any_sender(self) -> None:
        """Whoever the sender is, the bounce finds the way back for 21 days, and not on the 22nd."""

        @settings(max_examples=100, deadline=None)
        @given(st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=1, max_size=30))
        def check(local: str) -> None:
            sender = Address(local, "far.test")
            rewritten = SRS.forward(sender, NOW)
            if rewritten is None or local[:4].lower() in ("srs0", "srs1"):
                return
            self.assertTrue(SRS.is_ours(rewritten))
            self.assertEqual(sender, SRS.reverse(rewritten, NOW + 21 * DAY))
            with self.assertRaises(SignatureError):
                SRS.reverse(rewritten, NOW + 22 * DAY)

        check()

    def test_rotation(self) -> None:
        """The first secret signs, older ones still count, and one that was taken away does not."""
        old = SRS.forward(parse_address("a@far.test"), NOW)
        assert old is not None
        both = Srs("example.com", Keys(["fresh", "tops3cr3t"]))
        new = both.forward(parse_address("a@far.test"), NOW)
        assert new is not None
        self.assertNotEqual(old, new)
        self.assertEqual(["a@far.test"] * 2, [str(both.reverse(address, NOW)) for address in (old, new)])
        with self.assertRaises(SignatureError):
            Srs("example.com", Keys(["fresh"])).reverse(old, NOW)

    def test_chain(self) -> None:
        """Over three forwarders the bounce goes to the first one, and from there to the sender."""
        sender = parse_address("a@far.test")
        hosts = [Srs(f"{name}.test", Keys([name])) for name in ("one", "two", "three")]
        address = sender
        for host in hosts:
            found = host.forward(address, NOW)
            assert found is not None
            address = found
        self.assertEqual("three.test", address.domain)
        back = hosts[2].reverse(address, NOW)
        self.assertEqual("one.test", back.domain)
        self.assertEqual(sender, hosts[0].reverse(back, NOW))

    def test_too_long(self) -> None:
        """A sender whose rewritten local part had more than 64 octets is not rewritten."""
        fits = Address("a" * 40, "far.test")
        rewritten = SRS.forward(fits, NOW)
        assert rewritten is not None
        self.assertEqual(rewritten, parse_address(str(rewritten)))
        self.assertIsNone(SRS.forward(Address("a" * 60, "far.test"), NOW))

    def test_any_address(self) -> None:
        """No address raises anything but its own error."""

        @settings(max_examples=200, deadline=None)
        @given(st.text(st.sampled_from("srSR01=+-aA2é"), max_size=30))
        def check(local: str) -> None:
            for reverse in (SRS.reverse, Verp(Keys(["x"])).decode):
                try:
                    reverse(Address(local, "example.com"), NOW)
                except SignatureError as error:
                    self.assertTrue(str(error))

        check()

    def test_days(self) -> None:
        """Days go on over the end of the alphabet."""
        for days in (0, 1, 31, 32, 1023, 1024, 20_000):
            self.assertEqual(5, age(day(days * DAY), (days + 5) * DAY))


class VerpTests(SynchronousTestCase):
    def test_known(self) -> None:
        """The form is fixed: addresses that are out there must be read by later versions."""
        verp = Verp(Keys(["tops3cr3t"]))
        sender, recipient = parse_address("list@a.test"), parse_address("alice@c.test")
        encoded = verp.encode(sender, recipient, NOW)
        assert encoded is not None
        self.assertEqual("list+alice=c.test=2WnScH@a.test", str(encoded))
        self.assertEqual((sender, recipient), verp.decode(encoded, NOW + 60 * DAY))
        for forged in (encoded.local.replace("alice", "bob"), encoded.local[:-1], encoded.local[:-4] + "AAAA", "list"):
            with self.assertRaises(SignatureError, msg=forged):
                verp.decode(Address(forged, "a.test"), NOW)
        with self.assertRaises(SignatureError):
            verp.decode(encoded, NOW + 61 * DAY)
        with self.assertRaises(SignatureError):
            verp.decode(Address(encoded.local, "b.test"), NOW)

    def test_any_names(self) -> None:
        """Delimiters and equals signs in the names do not confuse it."""

        @settings(max_examples=100, deadline=None)
        @given(
            st.text(st.sampled_from("ab+=."), min_size=1, max_size=10),
            st.text(st.sampled_from("ab+=."), min_size=1, max_size=10),
        )
        def check(one: str, two: str) -> None:
            verp = Verp(Keys(["x", "y"]))
            sender, recipient = Address(one, "a.test"), Address(two, "c.test")
            encoded = verp.encode(sender, recipient, NOW)
            assert encoded is not None
            if not one.startswith("+"):
                self.assertEqual((sender, recipient), verp.decode(encoded, NOW))

        check()
