"""
A session whose client may say that it is another one (XCLIENT).

Owns: when XCLIENT is taken, and what of it outlives the greeting that follows.
Never: knows its grammar (`mta/smtp/xclient.py`), or judges the client that it names.
"""

from __future__ import annotations

from mta.reply import Reply
from mta.smtp import message_replies, replies
from mta.smtp.authenticating import Authenticating
from mta.smtp.terms import Terms
from mta.smtp.xclient import Xclient, announced, read_xclient


class Substitution(Authenticating):
    """The part of a session that knows XCLIENT; `may_substitute` is to be set where the client may use it."""

    __slots__ = ("may_substitute",)

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self.may_substitute = False

    def _xclient(self, argument: str) -> bytes | Xclient:
        """The question has no answer but a new session, or the reply that sends the client away."""
        if not self.may_substitute:
            return self._refuse(replies.XCLIENT_DENIED if self._terms.xclient else replies.NOT_IMPLEMENTED)
        if self.in_transaction:
            return self._refuse(message_replies.NESTED_MAIL)
        asked = read_xclient(argument)
        return self._refuse_with(asked) if isinstance(asked, Reply) else asked

    def _offered(self, ehlo: bytes) -> bytes:
        """The reply to EHLO for this client."""
        return announced(ehlo) if self.may_substitute else ehlo

    def substitute(self, asked: Xclient) -> None:
        """Begin with what XCLIENT said of the dialogue: a client whose HELO came along may go on with MAIL."""
        if asked.helo:
            self.helo, self.extended = asked.helo, asked.proto == "ESMTP"
            self._move(b"EHLO")
