"""`mta tlsrpt show`: what is counted, and what became of the reports."""

from __future__ import annotations

import json
import os
import time

from mta.tls.tlsrpt_store import Counts, Delivered, Report, State, TlsrptStore
from mta.tls_report import Applied, Finding, PolicyType, Result, Session, day_of
from tests.cli.test_commands import CommandCase

DAY = 20_000  # 2024-10-04
BAD = Session(Finding(Result.EXPIRED, "its certificate expired"), "192.0.2.9", "mx.a.test", "mx", "192.0.2.1")
DANE = Applied(PolicyType.TLSA, "mx.a.test", ("3 1 1 AB",))


class ShowTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = TlsrptStore(self.state / "tlsrpt")

    def count(self, day: int, domain: str = "a.test") -> None:
        counts = Counts()
        for session in (Session(), Session(), BAD):
            counts.add((day, domain, DANE), session)
        counts.add((day, "b.test", Applied(PolicyType.NONE, "b.test")), Session())
        self.store.add(counts)
        self.store.plan(day + 1, lambda _day: 1_728_090_000.0)

    def test_nothing(self) -> None:
        """Where nothing is counted nothing is printed, and where counting is off the reason is."""
        ran = self.mta("tlsrpt", "show")
        self.assertEqual((os.EX_OK, b"", ""), (ran.returncode, ran.stdout, ran.stderr))
        with self.config.open("a") as file:
            file.write("[tls.reports]\nenabled = false\n")
        ran = self.mta("tlsrpt", "show")
        self.assertEqual((os.EX_OK, b""), (ran.returncode, ran.stdout))
        self.assertIn("tls.reports.enabled is off", ran.stderr)

    def test_day(self) -> None:
        """A day: each policy with its sessions, each kind of failure, and the reports."""
        self.count(DAY)
        self.store.record(
            Report(
                DAY,
                "a.test",
                1_728_090_000.0,
                1,
                1_728_090_000.0,
                State.SENT,
                {
                    "https://a.test/": Delivered(1_728_090_001.0),
                    "mailto:x@a.test": Delivered(1_728_090_002.0, "the disk is full"),
                },
            )
        )
        ran = self.mta("tlsrpt", "show", "--date", "2024-10-04")
        self.assertEqual((os.EX_OK, ""), (ran.returncode, ran.stderr))
        self.assertEqual(
            [
                "day domain policy good failed what",
                "2024-10-04 a.test tlsa (mx.a.test) 2 1",
                "1 certificate-expired at mx.a.test[192.0.2.1]: its certificate expired",
                "2024-10-04 b.test no-policy-found 1 0",
                "",
                "report domain state at where",
                "2024-10-04 a.test sent 2024-10-05T01:00:01Z https://a.test/",
                "2024-10-04 a.test sent 2024-10-05T01:00:02Z mailto:x@a.test: the disk is full",
                "2024-10-04 b.test waiting 2024-10-05T01:00:00Z",
            ],
            [" ".join(line.split()) for line in ran.stdout.decode().splitlines()],
        )

    def test_json(self) -> None:
        """Today and yesterday of one domain, for programs."""
        today = day_of(time.time())
        for day in (today - 2, today - 1, today):
            self.count(day)
        ran = self.mta("tlsrpt", "show", "A.test.", "--json")
        self.assertEqual(os.EX_OK, ran.returncode)
        first, second = map(json.loads, ran.stdout.splitlines())
        self.assertEqual(("a.test", "tlsa", "mx.a.test", 2, 1), tuple(first[name] for name in NAMES))
        self.assertEqual(("certificate-expired", 1), (second["details"][0]["result"], second["details"][0]["count"]))
        self.assertGreater(first["day"], second["day"])
        self.assertEqual("waiting", second["report"]["state"])

    def test_bad_date(self) -> None:
        """What is no date is said to be none."""
        self.assert_fails(os.EX_USAGE, "YYYY-MM-DD", self.mta("tlsrpt", "show", "--date", "yesterday"))

    def test_damaged(self) -> None:
        """A file that is no database is named."""
        (self.state / "tlsrpt").mkdir()
        (self.state / "tlsrpt" / "results.sqlite").write_bytes(b"nonsense" * 200)
        self.assert_fails(os.EX_DATAERR, "not a database", self.mta("tlsrpt", "show"))


NAMES = ("domain", "policy", "policy_domain", "successes", "failures")
