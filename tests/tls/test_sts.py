"""The policies of other domains: when they are fetched, kept, checked and given up."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.dns.fake import FakeResolver
from mta.interfaces import IStsPolicies
from mta.sts_policy import Mode, StsPolicy
from mta.tls.sts import BACK_OFF, CHECK_EVERY, FETCH_EVERY, SWEEP_EVERY, UNUSED_AFTER, StsPolicies
from mta.tls.sts_fetch import FETCH_ERROR, INVALID, FetchError
from mta.tls.sts_store import Stored, StsStore

WEEK = 7 * 86_400
NAME = "_mta-sts.example.test"
START = 1_800_000_000.0


def policy(id_: str = "1", mode: Mode = Mode.ENFORCE, max_age: int = WEEK) -> StsPolicy:
    return StsPolicy(mode, ("mx.example.test",), max_age, id_)


class FakeFetcher:
    """Fetches when the test says so: `published` is a policy or why there is none; `hold` keeps all waiting."""

    def __init__(self) -> None:
        self.published: StsPolicy | FetchError = policy()
        self.asked: list[tuple[str, str]] = []
        self.waiting: list[Deferred[None]] | None = None

    def hold(self) -> None:
        self.waiting = []

    def release(self) -> None:
        waiting, self.waiting = self.waiting or [], None
        for each in waiting:
            each.callback(None)

    async def fetch(self, domain: str, id_: str) -> StsPolicy:
        self.asked.append((domain, id_))
        if self.waiting is not None:
            held: Deferred[None] = Deferred()
            self.waiting.append(held)
            await held
        if isinstance(self.published, FetchError):
            raise self.published
        return StsPolicy(self.published.mode, self.published.mx, self.published.max_age, id_)


def at_once(work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    return maybeDeferred(work, *arguments)


class Site(SynchronousTestCase):
    """A domain with a policy, and processes that send mail there."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "sts"
        self.clock = Clock()
        self.clock.advance(START)
        self.resolver = FakeResolver()
        self.publish("1")
        self.fetcher = FakeFetcher()
        self.notes: list[tuple[str, Mapping[str, str]]] = []
        self.complaints: list[str] = []
        self.store = StsStore(self.folder, self.complaints.append)
        self.policies = self.process()

    def process(self) -> StsPolicies:
        """Another process, or the next one after a restart."""
        return StsPolicies(
            resolver=self.resolver,
            fetcher=self.fetcher,
            store=self.store,
            clock=self.clock,
            run_in_thread=at_once,
            note=lambda kind, fields: self.notes.append((kind, fields)),
        )

    def publish(self, id_: str) -> None:
        self.resolver.set(NAME, "TXT", [f"v=STSv1; id={id_};".encode()])

    def asked(self, processes: StsPolicies | None = None) -> StsPolicy | None:
        return self.successResultOf((processes or self.policies).policy("example.test"))

    @property
    def fetches(self) -> int:
        return len(self.fetcher.asked)


class FirstTests(Site):
    def test_interface(self) -> None:
        """It provides `IStsPolicies`."""
        verifyObject(IStsPolicies, self.policies)

    def test_fetched_once(self) -> None:
        """The first mail waits for the fetch, the next ones find the policy, in any spelling of the domain."""
        self.fetcher.hold()
        waiting = [self.policies.policy(name) for name in ("example.test", "EXAMPLE.test.", "example.test")]
        for each in waiting:
            self.assertNoResult(each)
        self.fetcher.release()
        self.assertEqual([policy()] * 3, [self.successResultOf(each) for each in waiting])
        self.assertEqual(policy(), self.asked())
        self.assertEqual([("example.test", "1")], self.fetcher.asked)
        self.assertEqual([("sts-policy", {"domain": "example.test", "mode": "enforce", "id": "1"})], self.notes)

    def test_no_policy(self) -> None:
        """No record, no usable record, trouble with the DNS: no policy, and nothing is fetched (RFC 8461 3.1)."""
        for records in ([], [b"v=spf1 -all"], [b"v=STSv1; id=1", b"v=STSv1; id=2"], [b"v=STSv1; x"]):
            self.resolver.set(NAME, "TXT", records)
            self.assertIsNone(self.asked())
        self.resolver.fail(NAME, "TXT")
        self.assertIsNone(self.asked())
        self.resolver.forget(NAME, "TXT")
        self.assertIsNone(self.asked())
        self.assertEqual(0, self.fetches)

    def test_malformed_record_is_said_once(self) -> None:
        """A malformed record is one line of the log, and not one for each message."""
        self.resolver.set(NAME, "TXT", [b"v=STSv1; x"])
        for _ in range(5):
            self.asked()
        self.assertEqual(["sts-failed"], [kind for kind, _ in self.notes])
        self.assertEqual(INVALID, self.notes[0][1]["result"])

    def test_doubt(self) -> None:
        """That no policy was found is certain, or in doubt for a reason: where the DNS or the web server is silent."""
        self.fetcher.published = FetchError("the web server does not answer", "sts-policy-fetch-error")
        for change, doubt in (
            (lambda: self.resolver.fail(NAME, "TXT"), f"{NAME}: the server failed (SERVFAIL)"),
            (lambda: self.resolver.set(NAME, "TXT", []), ""),
            (lambda: self.publish("1"), "the web server does not answer"),
            (lambda: None, "the web server does not answer"),  # it is left alone for some minutes
            # RFC 8461 3.1: what is malformed is no record.
            (lambda: self.resolver.set(NAME, "TXT", [b"v=STSv1; x"]), ""),
        ):
            change()
            self.assertIsNone(self.asked())
            self.assertEqual(doubt, self.policies.doubt("EXAMPLE.test."))
        self.fetcher.published = policy()
        self.publish("2")
        self.assertEqual((policy("2"), ""), (self.asked(), self.policies.doubt("example.test")))

    def test_no_domain(self) -> None:
        """What is no host name has no policy, and nobody is asked."""
        for name in ("[192.0.2.1]", "", ".", "a..test", "../../etc", "a" * 250, "*.example.test", "b\u00fccher.test"):
            self.assertIsNone(self.successResultOf(self.policies.policy(name)), name)
        self.assertEqual([], self.resolver.asked)

    def test_given_up(self) -> None:
        """Who stops to wait does not stop the fetch for the others."""
        self.fetcher.hold()
        first, second = self.policies.policy("example.test"), self.policies.policy("example.test")
        first.cancel()
        self.failureResultOf(first)
        self.fetcher.release()
        self.assertEqual(policy(), self.successResultOf(second))

    def test_bug(self) -> None:
        """A fault of ours is no policy, in the log, and not the end of the domain."""
        self.fetcher.published = ValueError()  # type: ignore[assignment]
        self.assertIsNone(self.asked())
        self.assertEqual(1, len(self.flushLoggedErrors(AttributeError)))
        self.fetcher.published = policy()
        self.assertEqual(policy(), self.asked())


class FailureTests(Site):
    def test_back_off(self) -> None:
        """After a fetch that failed the domain is left alone for five minutes, and longer each time (RFC 8461 3.3)."""
        self.fetcher.published = FetchError("no route")
        self.assertIsNone(self.asked())
        for failures, wait in ((1, BACK_OFF), (2, 2 * BACK_OFF), (3, 4 * BACK_OFF)):
            self.clock.advance(wait - 1)
            self.assertIsNone(self.asked())
            self.assertEqual(failures, self.fetches)
            self.clock.advance(2)
            self.assertIsNone(self.asked())
            self.assertEqual(failures + 1, self.fetches)
        trouble = self.policies.trouble("example.test")
        assert trouble is not None
        self.assertEqual(("no route", FETCH_ERROR, 4), (trouble.reason, trouble.result, trouble.failures))
        self.assertEqual(["sts-failed"] * 4, [kind for kind, _ in self.notes])

    def test_new_id_ends_it(self) -> None:
        """The wait is for one version of the policy: another one is fetched at once."""
        self.fetcher.published = FetchError("404")
        self.assertIsNone(self.asked())
        self.fetcher.published = policy()
        self.publish("2")
        self.assertEqual(policy("2"), self.asked())
        self.assertIsNone(self.policies.trouble("example.test"))

    def test_old_policy_is_kept(self) -> None:
        """While fetches fail the last good policy holds, to the end of its max_age (RFC 8461 5.1)."""
        self.asked()
        self.fetcher.published = FetchError("certificate has expired")
        self.publish("2")
        for _ in range(int((WEEK - 1) / 3600)):
            self.clock.advance(3600)
            self.assertEqual(policy(), self.asked())
        self.assertGreater(self.fetches, 20)
        self.assertLess(self.fetches, 60)
        self.assertEqual("enforce", self.notes[-1][1]["kept"])
        self.clock.advance(2 * 3600)
        self.assertIsNone(self.asked())

    def test_record_gone(self) -> None:
        """That the record is gone, or can't be asked for, takes no policy away (RFC 8461 3.1, 5.1)."""
        self.asked()
        self.resolver.forget(NAME, "TXT")
        self.clock.advance(WEEK / 2)
        self.assertEqual(policy(), self.asked())
        self.resolver.fail(NAME, "TXT")
        self.clock.advance(WEEK / 2 - 1)
        self.assertEqual(policy(), self.asked())
        self.clock.advance(2)
        self.assertIsNone(self.asked())

    def test_quiet_where_nothing_is_lost(self) -> None:
        """RFC 8461 3.3: that a policy in mode "none" can't be refreshed is no news."""
        self.fetcher.published = policy(mode=Mode.NONE)
        self.asked()
        self.fetcher.published = FetchError("404")
        self.clock.advance(FETCH_EVERY + 1)
        self.assertEqual(Mode.NONE, getattr(self.asked(), "mode", None))
        self.assertEqual((2, ["sts-policy"]), (self.fetches, [kind for kind, _ in self.notes]))


class RefreshTests(Site):
    def test_check(self) -> None:
        """The record is asked for every few hours, beside the mail; the same id means nothing is fetched."""
        self.asked()
        self.resolver.asked.clear()
        self.clock.advance(CHECK_EVERY - 1)
        self.asked()
        self.assertEqual([], self.resolver.asked)
        self.clock.advance(2)
        self.resolver.hold()
        self.assertEqual(policy(), self.asked())
        self.assertEqual(policy(), self.asked())
        self.assertEqual([(NAME, "TXT")], self.resolver.asked)
        self.resolver.release()
        self.assertEqual(1, self.fetches)

    def test_id_changed(self) -> None:
        """A new id has the policy fetched; mail that is under way goes by the old one."""
        self.asked()
        self.publish("2")
        self.fetcher.published = policy(mode=Mode.TESTING)
        self.clock.advance(CHECK_EVERY + 1)
        self.assertEqual(policy(), self.asked())
        self.assertEqual(policy("2", Mode.TESTING), self.asked())
        self.assertEqual(2, self.fetches)

    def test_daily(self) -> None:
        """With the same id, too, it is fetched once a day, so that it does not end (RFC 8461 3.3, 10.2)."""
        self.asked()
        for _ in range(20):
            self.clock.advance(FETCH_EVERY + 1)
            self.assertEqual(policy(), self.asked())
        self.assertEqual(21, self.fetches)

    def test_short_life(self) -> None:
        """A max_age of nothing does not mean a fetch for each message."""
        self.fetcher.published = policy(max_age=0)
        for _ in range(10):
            self.assertEqual(policy(max_age=0), self.asked())
        self.assertEqual(1, self.fetches)
        self.clock.advance(BACK_OFF + 1)
        self.asked()
        self.assertEqual(2, self.fetches)

    def test_sweep(self) -> None:
        """What is stored is refreshed without mail, until none went there for a month; what has ended is removed."""
        self.asked()
        self.policies.start()
        self.addCleanup(self.policies.stop)
        for _ in range(int(UNUSED_AFTER / SWEEP_EVERY)):
            self.clock.advance(SWEEP_EVERY)
        self.assertEqual(["example.test"], list(self.store.domains()))
        self.assertIn(self.fetches, range(25, 32))
        fetches = self.fetches
        for _ in range(int((WEEK + FETCH_EVERY) / SWEEP_EVERY)):
            self.clock.advance(SWEEP_EVERY)
        self.assertEqual([], list(self.store.domains()))
        self.assertLessEqual(self.fetches, fetches + 1)

    def test_stop(self) -> None:
        """A stop ends what is under way and waits for nothing."""
        self.policies.start()
        self.fetcher.hold()
        waiting = self.policies.policy("example.test")
        self.policies.stop()
        self.assertIsNone(self.successResultOf(waiting))
        self.assertIsNone(self.asked())
        self.assertEqual([], self.clock.getDelayedCalls())


class StoreTests(Site):
    def test_restart(self) -> None:
        """A policy outlives the process: the next one fetches nothing, even where the web server is gone."""
        self.asked()
        self.fetcher.published = FetchError("gone")
        self.assertEqual(policy(), self.asked(self.process()))
        self.assertEqual(1, self.fetches)

    def test_workers(self) -> None:
        """What one process has refreshed the others have as well."""
        other = self.process()
        self.assertEqual(policy(), self.asked())
        self.assertEqual(policy(), self.asked(other))
        self.publish("2")
        self.clock.advance(CHECK_EVERY + 1)
        self.asked()
        self.assertEqual(policy("2"), self.asked(other))
        self.assertEqual(2, self.fetches)

    def test_bad_files(self) -> None:
        """A damaged file is none, with a line in the log, and the next write mends it."""
        self.asked()
        path = self.folder / "example.test.json"
        good = path.read_text()
        for bad in (
            "",
            "{",
            "[]",
            "null",
            "[" * 100_000,
            good[:-5],
            good.replace("enforce", "force"),
            good.replace("mx.example.test", "*.*"),
            good.replace(f"{WEEK}", '"a week"'),
            good.replace(f"{WEEK}", "-1"),
            good.replace(f"{START}", "1e300"),
            good.replace(f"{START}", "NaN"),
            good.replace('"example.test"', '"other.test"'),
            '{"domain": "\udc80"}',
        ):
            path.write_bytes(bad.encode("utf-8", "surrogateescape"))
            self.complaints.clear()
            fetches = self.fetches
            self.assertEqual(policy(), self.asked(self.process()), bad[:50])
            self.assertEqual(1, len(set(self.complaints)), bad[:50])
            self.assertIn("example.test.json: is damaged", self.complaints[0])
            self.assertEqual((fetches + 1, good), (self.fetches, path.read_text()))

    def test_from_the_future(self) -> None:
        """A file that a wrong clock wrote does not hold longer than its max_age."""
        self.store.write("example.test", Stored(policy("0"), START + 10**8, START + 10**8, START))
        self.assertEqual(policy("1"), self.asked())

    def test_full_disk(self) -> None:
        """A policy that can't be stored holds all the same, and leaves no drafts."""
        self.folder.write_text("no folder")
        self.assertEqual(policy(), self.asked())
        self.assertEqual(policy(), self.asked())
        self.assertEqual((1, "not stored"), (self.fetches, self.notes[-1][1]["result"]))

    def test_only_whole_files(self) -> None:
        """Drafts and strangers' files are no domains."""
        self.asked()
        for name in (".0123", "README", "..json", "A.json", "a..b.json"):
            (self.folder / name).write_text("{}")
        self.assertEqual(["example.test"], list(self.store.domains()))
        self.assertRaises(ValueError, self.store.read, "../x")
        self.assertRaises(ValueError, self.store.write, "a/b", Stored(policy(), 0, 0, 0))
