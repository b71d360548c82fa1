"""Messages taken apart."""

from __future__ import annotations

import base64
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.message.parts import parts_of

MESSAGE = b"""\
From: =?utf-8?q?J=C3=BCrgen?= <j@from.test>\r
To: one@to.test,\r
 two@to.test\r
Subject: =?utf-8?b?R3LDvMOfZQ==?= today\r
Message-ID: <1@from.test>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: text/plain; charset=iso-8859-1\r
Content-Transfer-Encoding: quoted-printable\r
\r
Gr=FC=DFe\r
--b\r
Content-Type: text/html; charset=no-such-charset\r
\r
<p>hi</p>\r
--b\r
Content-Type: text/plain; name="notes.txt"\r
Content-Disposition: attachment; filename*=utf-8''n%C3%B6tes.txt\r
Content-ID: <n>\r
Content-Transfer-Encoding: base64\r
\r
bm90ZXM=\r
--b--\r
"""


class PartsTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """Fields are decoded and unfolded, the first text and HTML stand apart, the rest are attachments."""
        found = parts_of(MESSAGE)
        self.assertEqual(
            ("J\u00fcrgen <j@from.test>", "one@to.test, two@to.test", "Gr\u00fc\u00dfe today", "<1@from.test>", None),
            tuple(found[key] for key in ("from", "to", "subject", "message_id", "date")),
        )
        self.assertEqual(("Gr\u00fc\u00dfe", "<p>hi</p>"), (found["text"], found["html"]))
        (attachment,) = found["attachments"]
        self.assertEqual("n\u00f6tes.txt", attachment["filename"])
        self.assertEqual(
            ("text/plain", "<n>", 5), tuple(attachment[key] for key in ("content_type", "content_id", "size"))
        )
        self.assertEqual(b"notes", base64.b64decode(attachment["content"]))
        self.assertEqual(["From", "=?utf-8?q?J=C3=BCrgen?= <j@from.test>"], found["headers"][0])

    def test_octets_beyond_ascii(self) -> None:
        """Raw UTF-8 in a field is read as such (RFC 6532); what is none is replaced, and never a surrogate."""
        found = parts_of("Subject: gr\u00fcn\r\nX: \r\n\r\nt".encode() + b"\xff\r\n")
        self.assertEqual(("gr\u00fcn", "t\ufffd\n"), (found["subject"], found["text"]))
        self.assertEqual("\ufffd", parts_of(b"Subject: \xff\r\n\r\n")["subject"])

    def test_too_deep(self) -> None:
        """What the parser can't take apart is given whole."""
        deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000))
        found = parts_of(deep)
        self.assertTrue("raw" in found or found["headers"])
        json.dumps(found)

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=20),
                st.sampled_from(
                    [
                        b"Content-Type: ",
                        b"multipart/mixed; boundary=b",
                        b"text/plain; charset=",
                        b"\r\n",
                        b"\r\n\r\n",
                        b"--b",
                        b"Content-Transfer-Encoding: base64",
                        b"Subject: =?utf-8?b?",
                        b"?=",
                        b"Content-Disposition: attachment; filename*=",
                        b"utf-8''%",
                        b"message/rfc822",
                        b"x-uuencode",
                    ]
                ),
            )
        )
    )
    def test_anything(self, pieces: list[bytes]) -> None:
        """Whatever a message is made of, there is JSON in UTF-8 for it."""
        json.dumps(parts_of(b"".join(pieces)), ensure_ascii=False).encode("utf-8")
