"""What a message demands of a connection, and which connections are good enough."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.tls_policy import DEFAULT_POLICY, NO_TLS, TlsLevel, TlsPolicy, TlsSource

ENCRYPT = TlsPolicy(TlsLevel.ENCRYPT)
VERIFY = TlsPolicy(TlsLevel.VERIFY)
DANE = TlsPolicy(TlsLevel.DANE, TlsSource.DANE)
OTHER = TlsPolicy(TlsLevel.VERIFY, TlsSource.MTA_STS, hosts=("mx.other.test",))


class TlsPolicyTests(SynchronousTestCase):
    def test_what_a_connection_may_carry(self) -> None:
        """A connection carries mail of another policy only where what was proved on it is enough for that."""
        cases = (
            # wanted, made for, encrypted, whether it may
            (NO_TLS, DEFAULT_POLICY, False, True),
            (NO_TLS, VERIFY, True, True),
            (DEFAULT_POLICY, DEFAULT_POLICY, False, True),
            (DEFAULT_POLICY, NO_TLS, False, False),
            (DEFAULT_POLICY, VERIFY, True, True),
            (ENCRYPT, DEFAULT_POLICY, False, False),
            (ENCRYPT, DEFAULT_POLICY, True, True),
            (ENCRYPT, NO_TLS, False, False),
            (VERIFY, DEFAULT_POLICY, True, False),
            (VERIFY, ENCRYPT, True, False),
            (VERIFY, VERIFY, True, True),
            (VERIFY, OTHER, True, False),
            (OTHER, VERIFY, True, False),
            (VERIFY, DANE, True, False),
            (DANE, VERIFY, True, False),
            (DANE, DANE, True, True),
        )
        for wanted, made_for, encrypted, may in cases:
            found = wanted.is_met_by(made_for, encrypted=encrypted)
            self.assertEqual(may, found, f"{wanted} on {made_for}, encrypted: {encrypted}")

    def test_clear_is_never_enough_for_who_demands_tls(self) -> None:
        """No policy that demands TLS is met by a connection in clear that was made for a lesser one."""
        for wanted in (ENCRYPT, VERIFY, OTHER, DANE):
            self.assertTrue(wanted.demands_tls)
            for made_for in (NO_TLS, DEFAULT_POLICY):
                self.assertFalse(wanted.is_met_by(made_for, encrypted=False))

    def test_hosts(self) -> None:
        """A wildcard stands for one label, the leftmost; without a list any host will do (RFC 8461 4.1)."""
        policy = TlsPolicy(hosts=("mx1.example.test", "*.mail.test"))
        for name, allowed in (
            ("mx1.example.test", True),
            ("MX1.Example.Test.", True),
            ("mx2.example.test", False),
            ("a.mail.test", True),
            ("a.b.mail.test", False),
            ("mail.test", False),
            ("test", False),
        ):
            self.assertEqual(allowed, policy.allows_host(name), name)
        self.assertTrue(DEFAULT_POLICY.allows_host("any.test"))
