"""SCRAM as a client: the vectors of the RFCs, the choice of the mechanism, servers that are not what they should be."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mta.auth.credentials import ScramProof
from mta.auth.passwords import scram_keys
from mta.auth.scram import Scram
from mta.identity import Challenge, Granted, Identity, Refused, Step
from mta.login import LOGIN, MECHANISMS, PLAIN, SCRAM, SCRAM_PLUS, Login
from mta.outcome import Phase, Scope
from mta.smtp.client_auth import Channel, exchange_for
from mta.smtp.client_events import Ready, StartTls
from mta.smtp.client_opening import Encryption, TlsWish
from mta.smtp.client_scram import ClientScram
from mta.smtp.exchange import ExchangeError
from tests.smtp_client.dialogue import GREETING, HOST, Dialogue
from tests.smtp_client.dialogue import PLAIN as PLAIN_HELLO
from tests.smtp_client.test_auth import offering

# RFC 7677 3
US = Login("user", "pencil")
NONCE = "rOprNGfwEbeRWgbNEkqO"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def coded(message: bytes) -> str:
    return b64encode(message).decode("ascii")


def challenge(message: bytes) -> bytes:
    return b"334 " + b64encode(message) + b"\r\n"


class ExchangeTests(SynchronousTestCase):
    def proved(self) -> ClientScram:
        """The exchange of the RFC, up to the client's proof."""
        exchange = ClientScram(US, NONCE)
        self.assertEqual(FIRST, exchange.initial())
        self.assertEqual(FINAL, exchange.respond(coded(SERVER_FIRST)))
        return exchange

    def refuses(self, exchange: ClientScram, message: str, reason: str) -> None:
        error = self.assertRaises(ExchangeError, exchange.respond, message)
        self.assertIn(reason, str(error))
        self.assertFalse(exchange.is_complete)

    def test_vector(self) -> None:
        """The exchange of RFC 7677 3, octet by octet; it is complete once the server's signature is verified."""
        exchange = self.proved()
        self.assertFalse(exchange.is_complete)
        self.assertEqual(b"", exchange.respond(coded(SERVER_FINAL)))
        self.assertTrue(exchange.is_complete)

    def test_impostor(self) -> None:
        """A server that can't sign does not know the password, and an error of it is told."""
        for message, reason in (
            (b"v=" + b64encode(bytes(32)), "can't prove that it knows the password"),
            (b"v=AAAA", "can't prove"),
            (b"v=A", "can't prove"),
            (b"", "can't prove"),
            (SERVER_FIRST, "can't prove"),
            (b"e=invalid-proof", "it said: invalid-proof"),
        ):
            self.refuses(self.proved(), coded(message), reason)

    def test_bad_first_messages(self) -> None:
        """A nonce that is not ours, too few or too many iterations, and what is no message end the exchange."""
        for message, reason in (
            (SERVER_FIRST.replace(b"r=r", b"r=x"), "does not go on from ours"),
            (b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "does not go on from ours"),
            (SERVER_FIRST.replace(b"4096", b"4095"), "it wants 4095 iterations, not 4096 to 200000"),
            (SERVER_FIRST.replace(b"4096", b"200001"), "it wants 200001 iterations"),
            (SERVER_FIRST.replace(b"4096", b"99999999999"), "no first message"),
            (SERVER_FIRST.replace(b"4096", b"-1"), "no first message"),
            (SERVER_FIRST.replace(b"=W22Z", b"=W22"), "a salt that is no base64"),
            (b"m=x," + SERVER_FIRST, "no first message"),
            (b"\xff", "no base64"),
        ):
            exchange = ClientScram(US, NONCE)
            exchange.initial()
            self.refuses(exchange, coded(message), reason)
        exchange = ClientScram(US, NONCE)
        exchange.initial()
        self.refuses(exchange, "Username:", "no base64")

    def test_password(self) -> None:
        """A password that SASLprep has no room for is told of, and shown to nobody."""
        exchange = ClientScram(Login("user", "se\acret"), NONCE)
        exchange.initial()
        error = self.assertRaises(ExchangeError, exchange.respond, coded(SERVER_FIRST))
        self.assertIn("our password is not for SCRAM", str(error))
        self.assertNotIn("cret", str(error))

    def test_names(self) -> None:
        """Commas and equals signs of a name are written as RFC 5802 5.1 says."""
        self.assertEqual(b"n,,n=a=2Cb=3Dc,r=x", ClientScram(Login("a,b=c", "p"), "x").initial())

    @given(st.text(max_size=60) | st.binary(max_size=60).map(coded))
    def test_anything(self, message: str) -> None:
        """Whatever a server says, it is an answer or an `ExchangeError`."""
        for exchange in (ClientScram(US, NONCE), self.proved()):
            exchange.initial()
            try:
                exchange.respond(message)
            except ExchangeError:
                self.assertFalse(exchange.is_complete)


class OwnServerTests(SynchronousTestCase):
    """The exchange with the other side of it, our own server's."""

    def exchange(self, client: ClientScram, password: str = "pencil", **server: Any) -> Step:
        keys = scram_keys(password, b"salt" * 4)

        def login(proof: ScramProof) -> Deferred[Step]:
            return succeed(Granted(Identity(proof.username)) if proof.proves(keys) else Refused("wrong"))

        conversation = Scram(lambda _user: succeed(keys), login, "SERVER", **server)
        said = client.initial()
        while True:
            step = conversation.respond(said)
            if isinstance(step, Deferred):
                step = self.successResultOf(step)
            if not isinstance(step, Challenge):
                return step
            said = client.respond(coded(step.data))

    def test_both_agree(self) -> None:
        """User and password of any kind, with and without the binding of the connection."""
        login = Login("\u00fcser,=", "p\u00e4ss, w\u00f6rd=")
        cases: tuple[tuple[ClientScram, dict[str, Any]], ...] = (
            (ClientScram(login, "x"), {}),
            (ClientScram(login, "x", binding=b"B", plus=True), {"plus": True, "binding": b"B", "offered": True}),
            (ClientScram(login, "x", binding=b"B"), {"binding": b"B"}),
            (ClientScram(login, "x"), {"binding": b"B", "offered": True}),
        )
        for client, server in cases:
            step = self.exchange(client, "p\u00e4ss, w\u00f6rd=", **server)
            self.assertEqual(Granted(Identity(login.user)), step)
            self.assertTrue(client.is_complete)

    def test_a_man_in_the_middle(self) -> None:
        """Another connection's binding is refused by the server, and so is an offer of -PLUS that was taken away."""
        cases: tuple[tuple[ClientScram, dict[str, Any]], ...] = (
            (ClientScram(US, "x", binding=b"ours", plus=True), {"plus": True, "binding": b"theirs", "offered": True}),
            (ClientScram(US, "x", binding=b"B"), {"binding": b"B", "offered": True}),
        )
        for client, server in cases:
            self.assertIsInstance(self.exchange(client, **server), Refused)
            self.assertFalse(client.is_complete)

    def test_wrong_password(self) -> None:
        """It is refused."""
        self.assertIsInstance(self.exchange(ClientScram(US, "x"), "pen"), Refused)


class ChoiceTests(SynchronousTestCase):
    def chosen(
        self, offered: Sequence[str], wanted: tuple[str, ...] = MECHANISMS, *, bound: bool = True, tell: bool = True
    ) -> tuple[str, bytes | None] | None:
        """The mechanism, and how its first words begin."""
        channel = Channel(b"B" if bound else None, tell, "x")
        exchange = exchange_for(Login("u", "p", wanted), offered, channel)
        return (exchange.mechanism, (exchange.initial() or b"")[:2]) if exchange else None

    def test_strongest(self) -> None:
        """The strongest that both know, and that the connection is fit for."""
        for offered, found in (
            ((LOGIN, PLAIN, SCRAM, SCRAM_PLUS), (SCRAM_PLUS, b"p=")),
            ((LOGIN, PLAIN, SCRAM), (SCRAM, b"y,")),
            ((LOGIN, PLAIN), (PLAIN, b"\0u")),
            ((LOGIN, "CRAM-MD5"), (LOGIN, b"")),
            (("CRAM-MD5",), None),
        ):
            self.assertEqual(found, self.chosen(offered))
        for offered, found in (
            ((LOGIN, PLAIN, SCRAM, SCRAM_PLUS), (SCRAM, b"n,")),
            ((SCRAM_PLUS, PLAIN), (PLAIN, b"\0u")),
        ):
            self.assertEqual(found, self.chosen(offered, bound=False))

    def test_wanted(self) -> None:
        """What the configuration leaves out is not taken, and nothing is claimed of it."""
        all_of_them = (LOGIN, PLAIN, SCRAM, SCRAM_PLUS)
        for wanted, found in (
            ((SCRAM,), (SCRAM, b"n,")),
            ((LOGIN,), (LOGIN, b"")),
            ((LOGIN, PLAIN), (PLAIN, b"\0u")),
            ((SCRAM_PLUS,), (SCRAM_PLUS, b"p=")),
        ):
            self.assertEqual(found, self.chosen(all_of_them, wanted))
        self.assertIsNone(self.chosen((PLAIN, LOGIN), (SCRAM, SCRAM_PLUS)))

    def test_in_clear(self) -> None:
        """SCRAM tells no password, and so may be spoken where none is to be told."""
        self.assertEqual((SCRAM, b"n,"), self.chosen((PLAIN, LOGIN, SCRAM), bound=False, tell=False))
        self.assertIsNone(self.chosen((PLAIN, LOGIN), bound=False, tell=False))


class SessionTests(SynchronousTestCase):
    def asked(self) -> Dialogue:
        dialogue = Dialogue(login=US, nonce=NONCE).hear(GREETING).hear(offering(b"PLAIN SCRAM-SHA-256"))
        self.assertEqual(b"AUTH SCRAM-SHA-256 " + b64encode(FIRST) + b"\r\n", dialogue.turn)
        return dialogue.hear(challenge(SERVER_FIRST))

    def test_let_in(self) -> None:
        """Each message goes in base64; the signature is acknowledged by an empty line, and 235 lets us in."""
        dialogue = self.asked()
        self.assertEqual(b64encode(FINAL) + b"\r\n", dialogue.turn)
        dialogue.hear(challenge(SERVER_FINAL))
        self.assertEqual(b"\r\n", dialogue.turn)
        self.assertNotIn(Ready(), dialogue.events)
        self.assertIn(Ready(), dialogue.hear(b"235 2.7.0 ok\r\n").events)

    def test_a_yes_without_proof(self) -> None:
        """A server that says yes and has not shown that it knows the password gets no mail."""
        why = self.asked().hear(b"235 2.7.0 ok\r\n").ended
        assert why is not None
        self.assertIn("is out of step: 235 2.7.0 ok in the middle of user (AUTH SCRAM-SHA-256)", why.reason)
        self.assertEqual((Phase.AUTH, Scope.OURSELVES), (why.phase, why.scope))

    def test_impostor(self) -> None:
        """A wrong signature ends the exchange and the connection: the message waits."""
        dialogue = self.asked().hear(challenge(b"v=AAAA"))
        self.assertEqual(b"*\r\nQUIT\r\n", dialogue.turn)
        why = dialogue.ended
        assert why is not None
        self.assertEqual(
            f"AUTH SCRAM-SHA-256 for user at {HOST} came to nothing: it can't prove that it knows the password: it is"
            " not the server that we mean",
            why.reason,
        )
        self.assertEqual((Phase.AUTH, Scope.OURSELVES, "4.7.8"), (why.phase, why.scope, why.enhanced))

    def test_rejected(self) -> None:
        """A refusal of the proof is one of our credentials."""
        why = self.asked().hear(b"535 5.7.8 no\r\n").ended
        assert why is not None
        self.assertIn("rejected our credentials for user (AUTH SCRAM-SHA-256): 535 5.7.8 no", why.reason)

    def test_bound(self) -> None:
        """What the handshake left both ends with is what -PLUS is bound by."""
        dialogue = Dialogue(login=US, nonce=NONCE, wish=TlsWish(Encryption.DEMANDED, "route: verify"))
        dialogue.hear(GREETING).hear(PLAIN_HELLO.replace(b"250 mx.test", b"250-mx.test\r\n250 STARTTLS"))
        dialogue.hear(b"220 go\r\n")
        self.assertIn(StartTls(), dialogue.events)
        dialogue.session.secured("TLSv1.3 verified (route: verify)", b"B")
        dialogue.settle()
        dialogue.hear(offering(b"SCRAM-SHA-256-PLUS SCRAM-SHA-256"))
        first = b"p=tls-exporter,,n=user,r=" + NONCE.encode()
        self.assertEqual(b"AUTH SCRAM-SHA-256-PLUS " + b64encode(first) + b"\r\n", dialogue.turn)
        final = b64decode(dialogue.hear(challenge(SERVER_FIRST)).turn)
        self.assertTrue(final.startswith(b"c=" + b64encode(b"p=tls-exporter,,B") + b","))
