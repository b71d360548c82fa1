"""The report itself: JSON as RFC 8460 4.4 and Appendix B have it, and the message that carries it."""

from __future__ import annotations

import email
import email.policy
import gzip
import json

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.message.tls_report import Letter, tls_report_message
from mta.tls.tlsrpt_report import Submitter, TlsReport
from mta.tls_report import Applied, Counted, Finding, PolicyType, Result, Session, Tally

US = Submitter("Company-X", Address("sts-reporting", "company-x.example"))
STS = Applied(
    PolicyType.STS,
    "company-y.example",
    ("version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"),
    ("*.mail.company-y.example",),
)
DAY = 16_892  # 2016-04-01
DETAILS = (
    Counted(Session(Finding(Result.EXPIRED), "2001:db8:abcd:12::1", "mx1.mail.company-y.example"), 100),
    Counted(
        Session(
            Finding(Result.STARTTLS_NOT_SUPPORTED),
            "2001:db8:abcd:13::1",
            "mx2.mail.company-y.example",
            "mx2",
            "203.0.113.56",
        ),
        200,
    ),
    Counted(
        Session(
            Finding(Result.VALIDATION_FAILURE, "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"),
            "198.51.100.62",
            "mx-backup.mail.company-y.example",
            ip="203.0.113.58",
        ),
        3,
    ),
)
REPORT = TlsReport(US, "company-y.example", DAY, [Tally(STS, 5326, 303, DETAILS)])


class JsonTests(SynchronousTestCase):
    def test_appendix_b(self) -> None:
        """The example of Appendix B comes out member for member (but mx-host is an array, as 4.4 says)."""
        self.assertEqual(
            {
                "organization-name": "Company-X",
                "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
                "contact-info": "sts-reporting@company-x.example",
                "report-id": REPORT.id,
                "policies": [
                    {
                        "policy": {
                            "policy-type": "sts",
                            "policy-string": list(STS.strings),
                            "policy-domain": "company-y.example",
                            "mx-host": ["*.mail.company-y.example"],
                        },
                        "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
                        "failure-details": [
                            {
                                "result-type": "certificate-expired",
                                "sending-mta-ip": "2001:db8:abcd:12::1",
                                "receiving-mx-hostname": "mx1.mail.company-y.example",
                                "failed-session-count": 100,
                            },
                            {
                                "result-type": "starttls-not-supported",
                                "sending-mta-ip": "2001:db8:abcd:13::1",
                                "receiving-mx-hostname": "mx2.mail.company-y.example",
                                "receiving-mx-helo": "mx2",
                                "receiving-ip": "203.0.113.56",
                                "failed-session-count": 200,
                            },
                            {
                                "result-type": "validation-failure",
                                "sending-mta-ip": "198.51.100.62",
                                "receiving-mx-hostname": "mx-backup.mail.company-y.example",
                                "receiving-ip": "203.0.113.58",
                                "failed-session-count": 3,
                                "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED",
                            },
                        ],
                    }
                ],
            },
            json.loads(gzip.decompress(REPORT.compressed())),
        )

    def test_without_policy(self) -> None:
        """Where no policy was found there is nothing to quote, and without failures nothing to detail."""
        report = TlsReport(US, "a.test", DAY, [Tally(Applied(PolicyType.NONE, "a.test"), 2, 0)])
        self.assertEqual(
            [
                {
                    "policy": {"policy-type": "no-policy-found", "policy-domain": "a.test"},
                    "summary": {"total-successful-session-count": 2, "total-failure-session-count": 0},
                }
            ],
            report.fields()["policies"],
        )

    def test_id(self) -> None:
        """The id and the octets are the same whenever the report is made, and others for another domain or day."""
        again = TlsReport(US, "company-y.example", DAY, [Tally(STS, 5326, 303, DETAILS)])
        self.assertEqual((REPORT.id, REPORT.compressed()), (again.id, again.compressed()))
        others = (TlsReport(US, "z.example", DAY, []), TlsReport(US, "company-y.example", DAY + 1, []))
        self.assertEqual(3, len({REPORT.id, *(other.id for other in others)}))
        self.assertRegex(REPORT.id, r"\A2016-04-01\.[0-9a-f]{16}@company-x\.example\Z")

    def test_file_name(self) -> None:
        """RFC 8460 5.1: sender, policy domain, begin, end, unique-id of letters and digits, json.gz."""
        name = r"\Acompany-x\.example!company-y\.example!1459468800!1459555199![A-Za-z0-9]+\.json\.gz\Z"
        self.assertRegex(REPORT.file_name, name)


class MessageTests(SynchronousTestCase):
    def test_message(self) -> None:
        """RFC 8460 5.3: multipart/report of a text and the report, with the fields that people search by."""
        octets = REPORT.compressed()
        letter = Letter(
            Address("tlsrpt", "company-x.example"),
            Address("reports", "company-y.example"),
            "company-y.example",
            US.domain,
            REPORT.id,
            "2016-04-01",
            REPORT.file_name,
            octets,
        )
        data = tls_report_message(letter, now=1_459_560_000.0, message_id="0123456789ABC")
        self.assertTrue(data.isascii())
        self.assertEqual(data.count(b"\n"), data.count(b"\r\n"))
        self.assertTrue(all(len(line) <= 998 for line in data.split(b"\r\n")))
        message = email.message_from_bytes(data, policy=email.policy.default)
        self.assertEqual("multipart/report", message.get_content_type())
        self.assertEqual("tlsrpt", message.get_param("report-type"))
        for name, value in (
            ("From", "tlsrpt@company-x.example"),
            ("To", "reports@company-y.example"),
            (
                "Subject",
                f"Report Domain: company-y.example Submitter: company-x.example Report-ID: <{REPORT.id}>",
            ),
            ("TLS-Report-Domain", "company-y.example"),
            ("TLS-Report-Submitter", "company-x.example"),
            ("TLS-Required", "No"),
            ("Auto-Submitted", "auto-generated"),
            ("Message-ID", "<0123456789ABC@company-x.example>"),
        ):
            self.assertEqual(value, str(message[name]).strip("<>" if name in ("From", "To") else ""), name)
        text, report = message.iter_parts()
        self.assertEqual(
            ("text/plain", "application/tlsrpt+gzip"), (text.get_content_type(), report.get_content_type())
        )
        self.assertIn("company-y.example", text.get_content())
        self.assertEqual((REPORT.file_name, octets), (report.get_filename(), report.get_content()))
