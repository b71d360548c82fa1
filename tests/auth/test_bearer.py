"""OAUTHBEARER and XOAUTH2: the examples of RFC 7628 and of Google, and what is no message of theirs."""

from __future__ import annotations

import json
from base64 import b64decode

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mta.auth.bearer import Bearer, NoMessage, bearer_refusal, oauthbearer, xoauth2, xoauth2_refusal
from mta.auth.credentials import BearerToken
from mta.identity import Challenge, Granted, Identity, Malformed, Refused, Step, Unavailable

# RFC 7628 4.1 (IMAP, port 143) and 4.4 (SMTP, port 587)
_IMAP = (
    "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNS"
    "bGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
_SMTP = (
    "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNS"
    "bGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
_TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
# RFC 7628 4.3
_REFUSAL = (
    "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczovL2V4"
    "YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="
)
_CONFIGURATION = "https://example.com/.well-known/openid-configuration"
# Google's description of XOAUTH2
_GOOGLE = (
    "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cB"
    "AQ=="
)


class MessageTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """The examples of RFC 7628 4.1 and 4.4, and Google's, give the user and the token that stand in them."""
        for example in (_IMAP, _SMTP):
            self.assertEqual(("user@example.com", _TOKEN), oauthbearer(b64decode(example).decode()))
        token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
        self.assertEqual(("someuser@example.com", token), xoauth2(b64decode(_GOOGLE).decode()))

    def test_forms(self) -> None:
        """What the grammar leaves open is taken: no user, a quoted one, no channel binding either way, other keys."""
        for text, user in (
            ("n,,\1auth=Bearer abc\1\1", ""),
            ("y,,\1auth=Bearer abc\1\1", ""),
            ("n,a=b=2Cc=3Dd,\1auth=bearer abc\1\1", "b,c=d"),
            ("n,a=ü@example.org,\1auth=BEARER   abc\1\1", "ü@example.org"),
            ("n,a=u,\1qs=a=b&c\1auth=Bearer abc\1mthd=POST\1\1", "u"),
        ):
            self.assertEqual((user, "abc"), oauthbearer(text), text)
        self.assertEqual(("a,b=c", "abc"), xoauth2("auth=Bearer abc\1user=a,b=c\1\1"))

    def test_malformed(self) -> None:
        """What is no message is told apart from a token that will not do."""
        for text in (
            "",
            "\1",
            "n,,\1auth=Bearer abc\1",
            "n,,\1auth=Bearer abc\1\1x",
            "n,,auth=Bearer abc\1\1",
            "n,,\1\1",
            "n,,\1host=x\1\1",
            "n,,\1auth=Bearer \1\1",
            "n,,\1auth=Bearer a b\1\1",
            "n,,\1auth=Basic YTpi\1\1",
            "n,,\1auth=Bearer abc\1auth=Bearer abd\1\1",
            "n,,\1Auth=Bearer abc\1\1",
            "n,u,\1auth=Bearer abc\1\1",
            "n,a=,\1auth=Bearer abc\1\1",
            "n,a=b=c,\1auth=Bearer abc\1\1",
            "n,a=b\0,\1auth=Bearer abc\1\1",
            "p=tls-exporter,,\1auth=Bearer abc\1\1",
            "F,n,,\1auth=Bearer abc\1\1",
            "user=u\1auth=Bearer abc\1\1",
        ):
            self.assertRaises(NoMessage, oauthbearer, text)
        for text in (
            "",
            "\1",
            "user=u\1auth=Bearer abc\1",
            "auth=Bearer abc\1\1",
            "user=\1auth=Bearer abc\1\1",
            "user=u\1\1",
            "user=u\1user=v\1auth=Bearer abc\1\1",
            "n,a=u,\1auth=Bearer abc\1\1",
        ):
            self.assertRaises(NoMessage, xoauth2, text)

    @given(st.text(st.sampled_from("nyap=,\1auth Berc2CD"), max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever comes, it is a message or it is none."""
        for read in (oauthbearer, xoauth2):
            try:
                _user, token = read(text)
            except NoMessage:
                continue
            self.assertIn(token, text)


class ConversationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[BearerToken] = []
        self.outcome: Step = Granted(Identity("user@example.com"))

    def login(self, credentials: BearerToken) -> Deferred[Step]:
        self.asked.append(credentials)
        return succeed(self.outcome)

    def bearer(self) -> Bearer:
        return Bearer(oauthbearer, self.login, bearer_refusal("example_scope", _CONFIGURATION))

    def step(self, given: Step | Deferred[Step]) -> Step:
        return self.successResultOf(given) if isinstance(given, Deferred) else given

    def test_granted(self) -> None:
        """A token that will do ends the conversation at once (RFC 7628 4.1), with or without an initial response."""
        bearer = self.bearer()
        self.assertEqual(Challenge(), bearer.start())
        self.assertEqual(self.outcome, self.step(bearer.respond(b64decode(_SMTP))))
        self.assertEqual([BearerToken("user@example.com", _TOKEN)], self.asked)

    def test_refused(self) -> None:
        """One that will not do is told why, as in RFC 7628 4.3; whatever comes then, it ends as refused."""
        self.outcome = Refused("expired", "user@example.com")
        for last in (b"\1", b"", b64decode(_SMTP), b"\xff"):
            bearer = self.bearer()
            told = self.step(bearer.respond(b64decode(_IMAP)))
            assert isinstance(told, Challenge)
            self.assertEqual(json.loads(b64decode(_REFUSAL)), json.loads(told.data))
            self.assertIs(self.outcome, told.refused)
            self.assertIs(self.outcome, bearer.respond(last))
        self.assertEqual(4, len(self.asked))

    def test_refusals(self) -> None:
        """The status says where a scope is missing; what is not configured is left out; XOAUTH2 has Google's words."""
        lacking = Refused("", "", "insufficient_scope")
        self.assertEqual({"status": "insufficient_scope"}, json.loads(bearer_refusal("", "")(lacking)))
        told = json.loads(xoauth2_refusal("https://mail.google.com/")(lacking))
        self.assertEqual({"status": "401", "schemes": "bearer", "scope": "https://mail.google.com/"}, told)

    def test_neither(self) -> None:
        """A message that is none, and an issuer that does not answer, end without a word about the token."""
        self.assertIsInstance(self.bearer().respond(b"\1"), Malformed)
        self.assertIsInstance(self.bearer().respond(b"n,,\1auth=Bearer \xff\1\1"), Malformed)
        self.assertEqual([], self.asked)
        self.outcome = Unavailable("timeout")
        self.assertEqual(self.outcome, self.step(self.bearer().respond(b64decode(_SMTP))))

    def test_no_token_in_a_repr(self) -> None:
        """A token stands in no repr that a traceback or a log could show."""
        self.assertNotIn("abc", repr(BearerToken("user", "abc")))
