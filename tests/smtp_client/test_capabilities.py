"""What is read from a server's answer to EHLO."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.reply import Reply
from mta.smtp.capabilities import Capabilities, Limits, capabilities_from

TABLE = (
    ("nothing offered", (), Capabilities()),
    ("RFC 2920", ("PIPELINING",), Capabilities(pipelining=True)),
    ("RFC 5321 4.1.1.1: keywords in any case", ("pipelining", "8BitMime"), Capabilities(True, True)),
    ("RFC 1870: a limit", ("SIZE 1000",), Capabilities(size=True, size_limit=1000)),
    ("RFC 1870 3: no limit told", ("SIZE",), Capabilities(size=True)),
    ("RFC 1870 3: zero is no limit", ("SIZE 0",), Capabilities(size=True)),
    ("a limit that is no number", ("SIZE lots",), Capabilities(size=True)),
    ("a limit of digits of another script", ("SIZE ٣",), Capabilities(size=True)),
    ("a limit of too many digits", ("SIZE " + "9" * 5000,), Capabilities(size=True)),
    ("spaces around", ("  SIZE   77  ",), Capabilities(size=True, size_limit=77)),
    ("a keyword inside another", ("XPIPELINING", "SIZEABLE 5"), Capabilities()),
    ("RFC 3030", ("CHUNKING", "BINARYMIME"), Capabilities(chunking=True, binary_mime=True)),
    ("RFC 3030 3: BINARYMIME needs CHUNKING", ("BINARYMIME",), Capabilities()),
    ("RFC 3461, RFC 6531", ("DSN", "SMTPUTF8"), Capabilities(dsn=True, smtputf8=True)),
    ("RFC 9422", ("LIMITS MAILMAX=9 RCPTMAX=100 rcptdomainmax=1",), Capabilities(limits=Limits(9, 100, 1))),
    ("RFC 9422 3: ill-formed limits", ("LIMITS MAILMAX=0 RCPTMAX=1000000 RCPTDOMAINMAX X=1 =",), Capabilities()),
    ("RFC 9422: some of them", ("LIMITS RCPTMAX=5 FUTURE=1",), Capabilities(limits=Limits(recipients=5))),
    ("empty lines", ("", " "), Capabilities()),
)


class CapabilityTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each keyword counts as its RFC says; what makes no sense counts as not said."""
        for clause, lines, expected in TABLE:
            self.assertEqual(expected, capabilities_from(Reply(250, ("mx.test", *lines))), clause)

    def test_first_line_is_a_name(self) -> None:
        """The first line is the server's name, even if it is called as an extension is (RFC 5321 4.1.1.1)."""
        self.assertEqual(Capabilities(), capabilities_from(Reply(250, ("PIPELINING",))))
