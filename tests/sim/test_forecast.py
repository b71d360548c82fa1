"""The present queue, copied and forecast, and left as it is."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.sim import forecast
from mta.sim.simulation import START, Simulation
from mta.sim.totals import SiteTotals, totals
from mta.spool import schema
from mta.spool.errors import SpoolError
from tests.sim.material import configuration, scenario

DAY = 86400.0
CONTENT = b"Received: from x\r\nSubject: hello\r\n\r\nbody\r\n"


class QueueCase(SynchronousTestCase):
    """A spool file as a daemon leaves it; `now` is START."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = Path(folder.name)
        self.spool = self.state / schema.FILE_NAME
        database = schema.connect(self.spool)
        schema.prepare(database, "spool")
        database.close()
        self.number = 0

    def queue(
        self, recipient: str, *, age: float = 60.0, due: float = 60.0, site: str = "", next_hop: str = "mx:",
        content: bytes = CONTENT, state: str = "queued",
    ) -> int:  # fmt: skip
        """Put a message into the spool: `age` seconds old, due in `due`, last routed to `site`."""
        self.number += 1
        database = schema.connect(self.spool)
        database.execute(
            "INSERT INTO messages (id, arrived, sender, size, body, due) VALUES (?, ?, 's@load.test', ?, '7BIT', ?)",
            (self.number, START - age, len(content), START + due if state == "queued" else None),
        )
        database.execute(
            "INSERT INTO recipients (message, address, state, due, attempts) VALUES (?, ?, ?, ?, 3)",
            (self.number, recipient, state, START + due),
        )
        for number, at in enumerate(range(0, len(content), schema.CHUNK_SIZE)):
            database.execute(
                "INSERT INTO chunks VALUES (?, ?, ?)", (self.number, number, content[at : at + schema.CHUNK_SIZE])
            )
        for name in ("gone.old.test", site) if site else ():
            database.execute(
                "INSERT INTO events (message, at, kind, recipient, detail) VALUES (?, ?, 'routed', ?, ?)",
                (self.number, START - age, recipient, json.dumps({"next_hop": next_hop, "site": name})),
            )
        database.close()
        return self.number

    def forecast(self, text: str | None = None) -> dict[str, SiteTotals]:
        """The sites of the forecast."""
        config = configuration()
        present = forecast.copy(self.spool)
        world = forecast.world_of(present, scenario(text) if text else None, config)
        with Simulation(config, world, present.database, START) as simulation:
            result = simulation.run()
        self.assertEqual([], result.ledger.faults)
        return {site.name: site for site in totals(result).sites}


class ForecastTests(QueueCase):
    def test_the_file_is_left_alone(self) -> None:
        """Neither the spool file changes, nor is one made beside it, whether the daemon is stopped or is running."""
        self.queue("a@x.test")
        before = hashlib.sha256(self.spool.read_bytes()).digest()
        self.assertEqual({"x.test"}, set(self.forecast()))
        self.assertEqual([self.spool], list(self.state.iterdir()))
        self.assertEqual(before, hashlib.sha256(self.spool.read_bytes()).digest())

        daemon = schema.connect(self.spool)
        self.addCleanup(daemon.close)
        daemon.execute("BEGIN IMMEDIATE")
        daemon.execute("UPDATE recipients SET attempts = 9")
        daemon.execute("COMMIT")  # it stands in the log beside the file now
        daemon.execute("BEGIN IMMEDIATE")
        files = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in self._files()}
        present = forecast.copy(self.spool)
        self.assertEqual([(9,)], present.database.execute("SELECT attempts FROM recipients").fetchall())
        self.assertEqual(files, {path.name: hashlib.sha256(path.read_bytes()).digest() for path in self._files()})
        daemon.execute("ROLLBACK")

    def _files(self) -> list[Path]:
        """The files with data; the index of the log in shared memory has the marks of its readers."""
        return [path for path in sorted(self.state.iterdir()) if not path.name.endswith("-shm")]

    def test_a_healthy_world(self) -> None:
        """Where every site is up, the backlog leaves when it is due."""
        for number in range(20):
            self.queue(f"u{number}@x.test", due=600.0 * number)
        site = self.forecast()["x.test"]
        self.assertEqual((20, 20, 0), (site.backlog, site.backlog_kinds.total(), site.backlog_left))
        assert site.backlog_drained is not None
        self.assertApproximates(600.0 * 19, site.backlog_drained, 2)

    def test_what_is_held_stays(self) -> None:
        """What an operator has stopped is still there at the end."""
        self.queue("u@x.test", state="held")
        site = self.forecast()["x.test"]
        self.assertEqual((1, 1, None), (site.backlog, site.backlog_left, site.backlog_drained))

    def test_what_expires(self) -> None:
        """With the site down, each message expires when its lifetime is over, and the oldest one first."""
        for days in (1, 2, 4):
            self.queue(f"u{days}@x.test", age=days * DAY)
        text = "duration = '30d'\n[[site]]\nname = 'x'\ndomains = ['x.test']\nstate = 'refusing'\n"
        site = self.forecast(text)["x"]
        self.assertEqual(
            (3, 0), (sum(n for kind, n in site.backlog_kinds.items() if kind.value == "expired"), site.left)
        )
        assert site.backlog_expires is not None
        assert site.backlog_drained is not None
        self.assertTrue(DAY <= site.backlog_expires <= DAY + 5 * 3600, site.backlog_expires)
        self.assertTrue(4 * DAY <= site.backlog_drained <= 4 * DAY + 5 * 3600, site.backlog_drained)

    def test_domains_on_one_provider_are_one_site(self) -> None:
        """What the event log last saw at the same hosts shares one site; a route is no such site."""
        hosts = "mx1.provider.test,mx2.provider.test"
        self.queue("u@big.test", site=hosts)
        self.queue("u@vanity.test", site=hosts)
        self.queue("u@alone.test", site="mx.alone.test")
        self.queue("u@routed.test", site="127.0.0.1:2501", next_hop="smtp://127.0.0.1:2501")
        found = {name: site.backlog for name, site in self.forecast().items()}
        self.assertEqual({"mx1.provider.test": 2, "alone.test": 1, "routed.test": 1}, found)

    def test_a_scenario_for_the_world(self) -> None:
        """A site of the scenario that has one of the domains has all that share its hosts."""
        hosts = "mx1.provider.test,mx2.provider.test"
        self.queue("u@big.test", site=hosts)
        self.queue("u@vanity.test", site=hosts)
        text = "duration = '1h'\n[[site]]\nname = 'big'\ndomains = ['big.test']\nstate = 'down'\n"
        site = self.forecast(text)["big"]
        self.assertEqual((2, 2), (site.backlog, site.backlog_left))

    def test_limits_are_shared(self) -> None:
        """A backlog of 100 at a site that takes five a minute is there for twenty minutes at the least."""
        for number in range(100):
            self.queue(f"u@d{number % 10}.test", due=0.0, site="mx.provider.test")
        text = "duration = '1d'\n[[site]]\nname = 'p'\ndomains = ['d0.test']\nmessages_per_minute = 5\n"
        site = self.forecast(text)["p"]
        self.assertEqual((100, 0), (site.backlog, site.backlog_left))
        assert site.backlog_drained is not None
        self.assertTrue(19 * 60 <= site.backlog_drained <= 12 * 3600, site.backlog_drained)
        self.assertEqual(5, site.peak_rate)

    def test_address_literals(self) -> None:
        """Mail for an address that no DNS leads to arrives as well."""
        self.queue("u@[192.0.2.9]")
        self.queue("u@[IPv6:2001:db8::9]")
        found = {name: site.backlog_kinds.total() for name, site in self.forecast().items()}
        self.assertEqual({"192.0.2.9": 1, "literal-2": 1}, found)

    def test_large_content_is_cut(self) -> None:
        """Of a large message the beginning is copied, and delivered as if that were all of it."""
        big = self.queue("u@x.test", content=CONTENT + b"0123456789abcdef\r\n" * 50_000)
        present = forecast.copy(self.spool)
        ((size, number),) = present.database.execute(
            "SELECT size, (SELECT count(*) FROM chunks WHERE message = id) FROM messages WHERE id = ?", (big,)
        )
        self.assertTrue(3000 < size <= forecast.MAX_CONTENT, size)
        self.assertEqual(1, number)
        self.assertEqual(1, self.forecast()["x.test"].backlog_kinds.total())

    def test_somebody_elses_token(self) -> None:
        """A real message with a field like those of the simulated ones is nobody's."""
        self.queue("u@x.test", content=b"X-Token: 7\r\n\r\nhello\r\n")
        self.assertEqual(1, self.forecast()["x.test"].backlog_kinds.total())

    def test_no_spool(self) -> None:
        """A spool that is missing or is none is told in a line."""
        self.assertRaises(SpoolError, forecast.copy, self.state / "nothing.sqlite")
        self.assertFalse((self.state / "nothing.sqlite").exists())
        (self.state / "text.sqlite").write_text("no database, " * 100)
        self.assertRaises(SpoolError, forecast.copy, self.state / "text.sqlite")
