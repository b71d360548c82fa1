"""The text of a next hop."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.destination import NextHop, Transport
from mta.routing.next_hops import check_template, parse_next_hop

GOOD = {
    "smtp://mail.x.test": NextHop(Transport.SMTP, "mail.x.test", 25),
    "smtp://Mail.X.test:2501": NextHop(Transport.SMTP, "mail.x.test", 2501),
    "SMTP://127.0.0.1:1": NextHop(Transport.SMTP, "127.0.0.1", 1),
    "smtp://[::1]:65535": NextHop(Transport.SMTP, "::1", 65535),
    "smtp://[2001:DB8:0::1]": NextHop(Transport.SMTP, "2001:db8::1", 25),
    "smtps://mail.x.test": NextHop(Transport.SMTPS, "mail.x.test", 465),
    "smtps://[::1]:4650": NextHop(Transport.SMTPS, "::1", 4650),
    "lmtp://Mail.X.test": NextHop(Transport.LMTP, "mail.x.test", 24),
    "lmtp://127.0.0.1:2400": NextHop(Transport.LMTP, "127.0.0.1", 2400),
    "lmtp://[::1]": NextHop(Transport.LMTP, "::1", 24),
    "lmtp+unix:/run/dovecot/lmtp": NextHop(Transport.LMTP_UNIX, "/run/dovecot/lmtp"),
    "LMTP+UNIX:run/lmtp": NextHop(Transport.LMTP_UNIX, "run/lmtp"),
    "smtp://bücher.test": NextHop(Transport.SMTP, "xn--bcher-kva.test"),
    "mx:": NextHop(Transport.MX),
    "mx:Relay.X.test": NextHop(Transport.MX, "relay.x.test"),
    "maildir:mail/{domain}/{user}": NextHop(Transport.MAILDIR, "mail/{domain}/{user}"),
    "discard:": NextHop(Transport.DISCARD),
    "https://X.test/In?a=B": NextHop(Transport.HTTPS, "//x.test/In?a=B"),
    "http://[::1]:8080": NextHop(Transport.HTTP, "//[::1]:8080/"),
    "mbox:/var/mail/{user}": NextHop(Transport.MBOX, "/var/mail/{user}"),
    "mbox:mail/{user}": NextHop(Transport.MBOX, "mail/{user}"),
    "pipe:a.b-c": NextHop(Transport.PIPE, "a.b-c"),
    "error:550 5.1.1 Gone: ask a@b": NextHop(Transport.ERROR, "550 5.1.1 Gone: ask a@b"),
    "error:450 Back on Monday": NextHop(Transport.ERROR, "450 4.7.1 Back on Monday"),
    "error: 550 1.2.3.4 is closed": NextHop(Transport.ERROR, "550 5.7.1 1.2.3.4 is closed"),
}
BAD = {
    "": "is not a next hop",
    "mail.x.test": "is not a next hop",
    "mail.x.test:25": "is not a next hop",
    "stmp://x.test": 'did you mean "smtp:"?',
    "smtp:x.test": "lacks the slashes",
    "smtp://": "domain is not a valid name",
    "smtp://:25": "domain is not a valid name",
    "smtp://x.test:": "port from 1 to 65535",
    "smtp://x.test:0": "port from 1 to 65535",
    "smtp://x.test:65536": "port from 1 to 65535",
    "smtp://x.test:²": "port from 1 to 65535",
    "smtp://x.test:-1": "port from 1 to 65535",
    "smtp://x.test/": "and nothing else",
    "smtp://user@x.test": "and nothing else",
    "smtp://2001:db8::1": "IPv6 address in brackets",
    "smtp://[mail.x.test]": "IPv6 address in its brackets",
    "smtp://[::1": "IPv6 address in its brackets",
    "smtp://[::1]25": "IPv6 address in its brackets",
    "smtp://[::1]:": "port from 1 to 65535",
    "smtp://999.1.1.1": "neither a host name nor an IPv4 address",
    "smtp://1.2.3": "neither a host name nor an IPv4 address",
    "mx://x.test": "domain is not a valid name",
    "mx:x test": "domain is not a valid name",
    "maildir:": "needs a path",
    "maildir:/var/mail/{user}": "below state_dir",
    "maildir:mail/../../etc": "below state_dir",
    "maildir:{user}/{home}": "placeholder other than {user} and {domain}",
    "maildir:{user!r}": "placeholder other than",
    "maildir:{{user}}": "placeholder other than",
    "maildir:}{": "placeholder other than",
    "discard:x": 'has something behind "discard:"',
    "lmtp:/run/lmtp": "lacks the slashes of lmtp://HOST:PORT",
    "lmtp://x.test/inbox": "must be lmtp://HOST:PORT and nothing else",
    "lmtp://x.test:25": "RFC 2033 5",
    "lmtp+unix:": "path of a UNIX socket",
    "lmtp+unix:run/": "path of a UNIX socket",
    "lmtp+unix:/run\0": "path of a UNIX socket",
    "lmtp+unix:///run/lmtp": "without the slashes of a host",
    "lmtp+unix:../lmtp": 'without ".."',
    "lmtp+unix:/run/../lmtp": 'without ".."',
    "ltmp://x.test": 'did you mean "lmtp:"?',
    "error:": "must have a code",
    "error:250 2.1.5 Ok": "must have a code",
    "error:421 4.3.2 Closing": "must have a code",
    "error:550": "must have a code",
    "error:550 5.1.1 ": "must have a code",
    "error:550 5.1.1 Größe": "printable ASCII",
    "error:550 5.1.1 a\r\n250 Ok": "printable ASCII",
    "error:550 4.1.1 No": "4.1.1 contradicts 550",
    "error:550 5.1.1 " + 500 * "x": "must have a code",
    "mbox:": "an mbox needs a path",
    "mbox:/": "an mbox needs a path",
    "mbox://x": "below state_dir",
    "mbox:/var/../x": "below state_dir",
    "mbox:{home}": "placeholder other than",
    "pipe:": "must be pipe:NAME",
    "pipe:/bin/cat": "must be pipe:NAME",
    "pipe:a b": "must be pipe:NAME",
    "https:": "a URL with a host",
    "https:/x": "a URL with a host",
    "https:///x": "a URL with a host",
    "https://x.test:99999/": "a URL with a host",
    "https://[::1/": "a URL with a host",
    "https://u:p@x.test/": "has a user in it",
    "https://x.test/#a": "has a fragment",
    "https://x.test/a b": "printable ASCII",
}


class NextHopTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Each kind of next hop is read, and its text reads as the same again."""
        for text, expected in GOOD.items():
            self.assertEqual(expected, parse_next_hop(text), text)
            self.assertEqual(expected, parse_next_hop(str(expected)), text)

    def test_bad(self) -> None:
        """What is no next hop is refused with a reason."""
        for text, reason in BAD.items():
            with self.assertRaises(ValueError) as caught:
                parse_next_hop(text)
            self.assertIn(reason, str(caught.exception), text)

    def test_a_template_is_a_path_below(self) -> None:
        """A template is returned as it is; a NUL in it is refused."""
        self.assertEqual("mail/{user}@{domain}/", check_template("mail/{user}@{domain}/"))
        self.assertRaises(ValueError, check_template, "mail/\0")

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(
        st.sampled_from(
            [
                "",
                "smtp:",
                "smtp://",
                "smtp://[",
                "lmtp://",
                "lmtp+unix:",
                "mx:",
                "maildir:",
                "discard:",
                "error:550 ",
                "https://",
            ]
        ),
        st.text(max_size=40),
    )
    def test_any_text(self, scheme: str, rest: str) -> None:
        """Any text is a next hop or a ValueError, nothing else."""
        try:
            found = parse_next_hop(scheme + rest)
        except ValueError:
            return
        self.assertEqual(found, parse_next_hop(str(found)))
