"""Reports on invented messages, and how to read them back with the email package."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

from mta.address import Address
from mta.envelope import Recipient
from mta.message.dsn import report as dsn_report
from mta.message.dsn_status import Action, ReportedMessage, ReportedRecipient
from mta.message.returned import OriginalContent
from mta.message.templates import load
from mta.outcome import Deferral, Failure, Phase
from mta.reply import Reply

HOST = "mx.b.test[192.0.2.25]:25"
REPLY = Reply(550, ("No such user", "Look elsewhere"), "5.1.1")
REFUSED = Failure(f"{HOST} said: {REPLY}", Phase.RCPT, HOST, REPLY, "5.1.1")
EXPIRED = Deferral("cannot connect to mx.c.test[192.0.2.3]:25: timed out", Phase.CONNECT)
BOB = Address("bob", "b.test")
ORIGINAL = b"From: alice@a.test\r\nSubject: hello\r\nMessage-ID: <1@a.test>\r\n\r\nHello, Bob\r\n"


ALICE = Address("alice", "a.test")
MESSAGE = ReportedMessage("06ABCDEFGHJKM", 1_700_000_000.0, ALICE, "client.a.test")


def failed(address: Address, outcome: Failure | Deferral, attempted: float) -> ReportedRecipient:
    return ReportedRecipient(Recipient(address), Action.FAILED, outcome, attempted)


def report(
    *recipients: ReportedRecipient,
    original: bytes | None = ORIGINAL,
    whole: bool = True,
    report_id: str = "06ABCDEFGHJKN",
    message: ReportedMessage = MESSAGE,
    to: Address = ALICE,
    languages: tuple[str, ...] = ("en",),
    is_double: bool = False,
) -> bytes:
    return dsn_report(
        reporting_mta="mx.example.org",
        report_id=report_id,
        report_from=Address("postmaster", "mx.example.org"),
        to=to,
        now=1_700_432_000.0,
        message=message,
        recipients=recipients or (failed(BOB, REFUSED, 1_700_000_060.0),),
        original=None if original is None else OriginalContent(original, whole),
        languages=load(languages),
        is_double=is_double,
    ).data


def parsed(wire: bytes) -> EmailMessage:
    return message_from_bytes(wire, policy=policy.default)


def parts(wire: bytes) -> list[EmailMessage]:
    return [cast(EmailMessage, part) for part in parsed(wire).iter_parts()]


def status(wire: bytes) -> list[EmailMessage]:
    """The groups of fields of the message/delivery-status part: the message's own, then one for each recipient."""
    return cast(list[EmailMessage], parts(wire)[1].get_payload())
