"""The names of a certificate against those of the server (RFC 7672 3.2.3)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.tls.reference_ids import is_for, names_in
from tests.tls.chains import root

AUTHORITY = root()


class NameTests(SynchronousTestCase):
    def test_table(self) -> None:
        """RFC 7672 3.2.3: DNS names alone where there are any, else the common name; a wildcard is a whole label."""
        for common_name, names, wanted, matches in (
            ("x", ["mx.example.com"], "mx.example.com", True),
            ("x", ["MX.Example.COM"], "mx.example.com", True),
            ("x", ["a.test", "mx.example.com"], "mx.example.com", True),
            ("mx.example.com", ["other.test"], "mx.example.com", False),
            ("mx.example.com", [], "mx.example.com", True),
            ("*.example.com", [], "mx.example.com", True),
            ("x", ["*.example.com"], "mx1.example.com", True),
            ("x", ["*.example.com"], "a.mx1.example.com", False),
            ("x", ["*.example.com"], "example.com", False),
            ("x", ["smtp*.example.com"], "smtp1.example.com", False),
            ("x", ["*smtp.example.com"], "1smtp.example.com", False),
            ("x", ["mx.*.com"], "mx.example.com", False),
            ("x", ["*"], "com", False),
            ("x", ["*."], "com.", False),
        ):
            certificate = AUTHORITY.issue(common_name, names).certificate
            self.assertIs(matches, is_for(certificate, [wanted]), (common_name, names, wanted))

    def test_any_of_several(self) -> None:
        """One name that is one of those wanted is enough; the common name is told where it counts."""
        certificate = AUTHORITY.issue("mx.test").certificate
        self.assertTrue(is_for(certificate, ["base.test", "mx.test"]))
        self.assertFalse(is_for(certificate, []))
        self.assertEqual(["mx.test"], names_in(certificate))
