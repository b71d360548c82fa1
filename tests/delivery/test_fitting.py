"""What becomes of a message for a server that lacks an extension."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.fitting import MAX_CONVERTED, EightBit, Fitted, fitted
from mta.envelope import Body, Envelope, Recipient
from mta.outcome import Failure
from mta.smtp.capabilities import Capabilities
from tests.delivery.material import ONE, SENDER, Content

PLAIN = b"Subject: x\r\n\r\nplain\r\n"
HIGH = "Subject: x\r\n\r\nHöhe\r\n".encode()
HIGH_HEADER = "Subject: Höhe\r\n\r\nplain\r\n".encode()
NOTHING = Capabilities()


class FittingTests(SynchronousTestCase):
    def fit(
        self, content: Content, offers: Capabilities = NOTHING, eight_bit: EightBit = "send", **more: Any
    ) -> Fitted | Failure:
        envelope = Envelope(SENDER, (Recipient(ONE),), **more)
        return self.successResultOf(Deferred.fromCoroutine(fitted(envelope, content, offers, eight_bit, "mx.test")))

    def test_as_it_is(self) -> None:
        """A message goes as it is, and is not even read, where the server or the policy takes it."""
        eight_bit = Capabilities(eight_bit_mime=True)
        cases: tuple[tuple[Capabilities, EightBit, dict[str, Any]], ...] = (
            (NOTHING, "bounce", {}),
            (NOTHING, "send", {"body": Body.EIGHT_BIT_MIME}),
            (eight_bit, "bounce", {"body": Body.EIGHT_BIT_MIME}),
            (eight_bit, "convert", {"body": Body.EIGHT_BIT_MIME}),
            (Capabilities(smtputf8=True), "send", {"utf8": True}),
        )
        for offers, policy, more in cases:
            content = Content(HIGH, 4)
            found = self.fit(content, offers, policy, **more)
            assert isinstance(found, Fitted)
            self.assertIs(content, found.content)
            self.assertEqual([], content.read)

    def test_declared_only(self) -> None:
        """Content that is declared as 8-bit and is not needs nothing of the server."""
        for size in (None, 4):
            found = self.fit(Content(PLAIN, size), NOTHING, "bounce", body=Body.EIGHT_BIT_MIME)
            self.assertIsInstance(found, Fitted)

    def test_bounced(self) -> None:
        """8-bit content for a server without 8BITMIME fails with 5.6.3 where the policy says so (RFC 6152 3)."""
        for size in (None, 4):
            found = self.fit(Content(HIGH, size), NOTHING, "bounce", body=Body.EIGHT_BIT_MIME)
            assert isinstance(found, Failure)
            self.assertEqual("5.6.3", found.enhanced)

    def test_converted(self) -> None:
        """It goes in quoted-printable and as 7BIT where the policy says so."""
        for size in (None, 4):
            found = self.fit(Content(HIGH, size), NOTHING, "convert", body=Body.EIGHT_BIT_MIME)
            assert isinstance(found, Fitted)
            self.assertIs(Body.SEVEN_BIT, found.envelope.body)
            whole = found.content.whole()
            assert whole is not None
            self.assertIn(b"H=C3=B6he", whole)
            self.assertEqual(len(whole), found.content.size)

    def test_not_to_be_converted(self) -> None:
        """What can't be converted, or is too large for it, fails."""
        large = b"\xff" * (MAX_CONVERTED + 1)
        for data in (b"Content-Transfer-Encoding: base64\r\n\r\n\xff", large):
            found = self.fit(Content(data, 1 << 20), NOTHING, "convert", body=Body.EIGHT_BIT_MIME)
            assert isinstance(found, Failure)
            self.assertEqual("5.6.3", found.enhanced)

    def test_binary(self) -> None:
        """Binary content goes where BINARYMIME is offered; else it is converted or fails with 5.6.3 (RFC 3030 3)."""
        data = b"Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\n\r\xff"
        offers = Capabilities(eight_bit_mime=True, chunking=True)
        for size in (None, 4):
            content = Content(data, size)
            found = self.fit(content, Capabilities(chunking=True, binary_mime=True), "bounce", body=Body.BINARY_MIME)
            assert isinstance(found, Fitted)
            self.assertIs(content, found.content)
            found = self.fit(Content(data, size), offers, "convert", body=Body.BINARY_MIME)
            assert isinstance(found, Fitted)
            self.assertIs(Body.SEVEN_BIT, found.envelope.body)
            self.assertIn(b"\r\n\r\nAAoN/w==", found.content.whole() or b"")
            for policy in ("send", "bounce"):  # what is binary can't just be sent
                refused = self.fit(Content(data, size), offers, policy, body=Body.BINARY_MIME)
                assert isinstance(refused, Failure)
                self.assertEqual("5.6.3", refused.enhanced)
                self.assertIn("BINARYMIME", refused.reason)

    def test_international_header(self) -> None:
        """A header that is not ASCII never goes to a server without SMTPUTF8; one that is may (RFC 6531 3.5)."""
        for data, size, expected in (
            (HIGH_HEADER, None, Failure),
            (HIGH_HEADER, 4, Failure),
            (HIGH, None, Fitted),
            (HIGH, 4, Fitted),
        ):
            self.assertIsInstance(self.fit(Content(data, size), utf8=True), expected)
