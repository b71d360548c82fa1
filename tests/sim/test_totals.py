"""The figures and the story of small runs, worked out by hand."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.config.schema import Config
from mta.events import Kind
from mta.sim.report import as_json, blocks, thinned
from mta.sim.simulation import START, Result, Simulation, Stopped
from mta.sim.timeline import clock, span, timeline
from mta.sim.totals import CRASHED, DROPPED, SENT_AGAIN, Totals, totals
from tests.sim.material import configuration, scenario

LOAD = "[[load]]\nmessages = {}\nto = '{}'\nrecipients = ['u{{n}}@a.test']\n"


class TotalsCase(SynchronousTestCase):
    def run_scenario(self, text: str, config: Config | None = None) -> Result:
        """A finished run; its directory goes with the test."""
        config = config or configuration()
        simulation = Simulation(config, scenario(text, config))
        self.addCleanup(simulation.__exit__)
        return simulation.run()

    def totals(self, text: str, config: Config | None = None) -> Totals:
        return totals(self.run_scenario(text, config))


class TotalsTests(TotalsCase):
    def test_a_healthy_world(self) -> None:
        """Everything is delivered at once, and the queue is never longer than a moment's mail."""
        found = self.totals("duration = '1h'\n" + LOAD.format(10, "10m"))
        self.assertEqual((10, 10, 10, 0, 0, 0), _figures(found))
        self.assertEqual((1, {}, {}), (found.longest, dict(found.left), dict(found.refused)))
        assert found.delays is not None
        self.assertTrue(0.05 < found.delays[0] <= found.delays[1] <= found.delays[2] < 1.0, found.delays)
        (site,) = found.sites
        self.assertEqual(("a.test", 10, 0, 1, 1), _site(site))

    def test_a_site_that_is_down(self) -> None:
        """Deferred attempts are told apart from mail that only waits; what is left is counted by state."""
        text = "duration = '30m'\n[[site]]\nname = 'a'\ndomains = ['a.test']\nstate = 'refusing'\n"
        found = self.totals(text + LOAD.format(5, "0s"))
        self.assertEqual((5, 5, 0), _figures(found)[:3])
        self.assertTrue(found.deferred >= 5)
        self.assertEqual({"queued": 5}, dict(found.left))
        (site,) = found.sites
        self.assertEqual((5, None, 0), (site.left, site.drained, site.kinds[Kind.DELIVERED]))

    def test_bounces_are_told_to_the_sender(self) -> None:
        """A refusal for good is a bounce and a report; the report is not counted as mail."""
        text = "duration = '10m'\n[names]\nnxdomain = ['a.test']\n"
        found = self.totals(text + LOAD.format(3, "0s"))
        self.assertEqual((3, 3, 0, 0, 3, 0), _figures(found))
        self.assertEqual((3, 3), (found.reports, found.reports_delivered))

    def test_dropped_behind_the_dot(self) -> None:
        """A site that takes a message and hangs up gets it again: a duplicate that is explained, and a doubt."""
        text = (
            "duration = '1h'\n[[site]]\nname = 'a'\ndomains = ['a.test']\n"
            "[[site.spell]]\nfrom = '0s'\nto = '1m'\ndrops_after_dot = 1.0\n"
        )
        found = self.totals(text + LOAD.format(2, "0s"))
        self.assertEqual((2, 2, 2), _figures(found)[:3])
        self.assertEqual((2, 2), (found.duplicates[DROPPED], found.in_doubt))
        self.assertEqual(2, sum(found.duplicates.values()))

    def test_in_doubt_at_a_crash(self) -> None:
        """What a slow site had taken when the daemon was killed is delivered again, and the crash explains it."""
        text = (
            "duration = '1h'\n[[site]]\nname = 'a'\ndomains = ['a.test']\nreply_delay = '10s'\n"
            "[[fault]]\nkind = 'crash'\nfrom = '{}'\nto = '2m'\n"
        )
        # Six replies of ten seconds: greeting, EHLO, MAIL, RCPT and DATA are over at 50 s, the dot's at 60 s.
        found = self.totals(text.format("55s") + LOAD.format(1, "0s"))
        self.assertEqual((1, 1, 1), (found.crashes, found.delivered, found.duplicates[CRASHED]))

    def test_no_room_to_start(self) -> None:
        """A daemon that finds the disk full when it is started is started again until there is room."""
        text = (
            "duration = '2h'\n[[site]]\nname = 'a'\ndomains = ['a.test']\nreply_delay = '10s'\n"
            "[[fault]]\nkind = 'disk-full'\nfrom = '45s'\nto = '10m'\n"
            "[[fault]]\nkind = 'crash'\nfrom = '55s'\nto = '1m'\n"
        )
        # Many in doubt: their events take more room than the page that a full disk may have left in the file.
        result = self.run_scenario(text + LOAD.format(60, "0s"))
        texts = [happening.text for happening in result.ledger.happenings]
        (failed,) = (number for number, text in enumerate(texts) if text.startswith("the daemon can't start: "))
        self.assertTrue(texts.index("the disk has room again") > failed)
        self.assertTrue(texts.index("the daemon is started again") > failed)
        self.assertEqual((60, 60), (totals(result).accepted, totals(result).delivered))

    def test_sent_again_by_its_client(self) -> None:
        """A daemon that dies between its commit and its reply gets the message again from the client: two copies."""
        text = "duration = '1h'\n[[fault]]\nkind = 'crash'\nfrom = '0s'\nto = '1m'\nat_step = {}\n"
        causes = set()
        for step in range(8, 40):
            found = self.totals(text.format(step) + LOAD.format(1, "0s"))
            self.assertEqual(0, found.duplicates["unexplained"], step)
            causes |= {cause for cause, number in found.duplicates.items() if number}
        self.assertIn(SENT_AGAIN, causes)

    def test_refused_clients(self) -> None:
        """Recipients that our server refused are counted by code."""
        found = self.totals("duration = '10m'\n" + LOAD.format(2, "0s") + "client = '192.0.2.1'\n")
        self.assertEqual(({550: 2}, 0), (dict(found.refused), found.accepted))

    def test_limits_of_a_site(self) -> None:
        """A site's peaks are what it has seen: no more messages in a minute than it takes."""
        text = (
            "duration = '30m'\n[[site]]\nname = 'a'\ndomains = ['a.test', 'b.test']\nmessages_per_minute = 5\n"
            "[[load]]\nmessages = 12\nrecipients = ['u{n}@a.test', 'u{n}@b.test']\n"
        )
        found = self.totals(text)
        (site,) = found.sites
        self.assertEqual((12, 5), (site.kinds[Kind.DELIVERED], site.peak_rate))

    def test_every_way_out(self) -> None:
        """Sites behind routes are named as the scenario names them, by any transport, and mail through them arrives."""
        config = configuration(
            "[[route]]\nrecipients = ['*@a.test']\nnext_hop = 'smtp://127.0.0.1:2501'\n"
            "[[route]]\nrecipients = ['*@b.test']\nnext_hop = 'lmtp://relay.test:24'\n"
            "[[route]]\nrecipients = ['*@c.test']\nnext_hop = 'lmtp+unix:/run/lmtp'\n"
            "[[route]]\nrecipients = ['*@d.test']\nnext_hop = 'mx:e.test'\n"
        )
        text = (
            "duration = '10m'\n[[site]]\nname = 'inner'\nendpoints = ['127.0.0.1:2501']\n"
            "[[site]]\nname = 'store'\nendpoints = ['relay.test:24']\n[[site]]\nname = 'e'\ndomains = ['e.test']\n"
            "[[load]]\nmessages = 3\nrecipients_per_message = 5\n"
            "recipients = ['u{n}@a.test', 'u{n}@b.test', 'v{n}@b.test', 'u{n}@c.test', 'u{n}@d.test']\n"
        )
        found = self.totals(text, config)
        wanted = {"inner": 3, "store": 6, "lmtp+unix:/run/lmtp": 3, "e": 3}
        self.assertEqual(wanted, {site.name: site.kinds[Kind.DELIVERED] for site in found.sites})

    def test_several_next_hops(self) -> None:
        """While the first next hop of a route is down the second has its mail, and then the first again; none waits."""
        config = configuration(
            "[[route]]\nrecipients = ['*@a.test']\nnext_hop = ['smtp://10.0.0.1:2501', 'smtp://10.0.0.2:2501']\n"
        )
        text = (
            "duration = '4h'\n[[site]]\nname = 'first'\nendpoints = ['10.0.0.1:2501']\n"
            "[[site.spell]]\nfrom = '1h'\nto = '2h'\nstate = 'down'\n"
            "[[site]]\nname = 'second'\nendpoints = ['10.0.0.2:2501']\n"
            "[[load]]\nto = '4h'\nmessages = 240\nrecipients = ['u{n}@a.test']\n"
        )
        found = self.totals(text, config)
        shares = {site.name: site.kinds[Kind.DELIVERED] for site in found.sites}
        self.assertEqual(240, sum(shares.values()))
        self.assertTrue(60 <= shares["second"] <= 125, shares)
        self.assertEqual(0, sum(site.kinds[Kind.DEFERRED] for site in found.sites))

    def test_any_endpoint(self) -> None:
        """Listeners that the host could not open (TLS, systemd's sockets) are there in the simulation all the same."""
        config = configuration(
            "[[listener]]\nname = 'sockets'\nendpoint = 'systemd:domain=INET:index=0'\nrole = 'lmtp'\n"
            "[local]\ndomains = ['here.test']\nusers = ['*']\n"
        )
        text = "duration = '10m'\n[[load]]\nmessages = 2\nlistener = 'sockets'\nrecipients = ['u{n}@here.test']\n"
        self.assertEqual((2, 2, 2), _figures(self.totals(text, config))[:3])


class ReportTests(TotalsCase):
    def test_the_story(self) -> None:
        """What happens, the first deferral of a site, its recovery and the end of its backlog are lines in order."""
        result = self.run_scenario(
            "duration = '3h'\n[[site]]\nname = 'a'\ndomains = ['a.test']\n"
            "[[site.spell]]\nfrom = '5m'\nto = '1h'\nstate = 'refusing'\n" + LOAD.format(12, "10m")
        )
        lines = timeline(result, totals(result))
        self.assertEqual(sorted(line.at for line in lines), [line.at for line in lines])
        texts = [line.text for line in lines]
        places = [
            next(number for number, text in enumerate(texts) if text.startswith(words))
            for words in (
                "a is refusing",
                "a: first deferral: cannot connect to mx1.a.test",
                "a is as usual",
                "a: first delivery after that",
                "a: nothing waits for it any more",
            )
        ]
        self.assertEqual(sorted(places), places)

    def test_it_is_bounded(self) -> None:
        """A hundred sites in trouble and a hundred spells give a page of lines, which says what it left out."""
        text = "duration = '2h'\n[[site]]\nname = 'busy'\n"
        for number in range(50):
            text += f"[[site.spell]]\nfrom = '{number}m'\nto = '{number + 1}m'\nstate = 'down'\n"
        domains = ", ".join(f"'d{number}.test'" for number in range(100))
        text += f"[names]\nfailing = [{domains}]\nnxdomain = [{', '.join(f'{n!r}' for n in _names(20))}]\n"
        everyone = ", ".join(f"'u@d{number}.test'" for number in range(100))
        text += f"[[load]]\nmessages = 100\nrecipients = [{everyone}]\n"
        text += f"[[load]]\nmessages = 20\nrecipients = [{', '.join(repr(f'u@{n}') for n in _names(20))}]\n"
        result = self.run_scenario(text)
        lines = timeline(result, totals(result))
        self.assertTrue(len(lines) < 100)
        texts = "\n".join(line.text for line in lines)
        for words in ("(60 more from the scenario)", "(deferrals of 92 more sites", "(8 more groups of bounces)"):
            self.assertIn(words, texts)

    def test_blocks_and_json_agree(self) -> None:
        """The tables and the JSON are of the same figures; a broken promise is in both."""
        result = self.run_scenario("duration = '1h'\n" + LOAD.format(4, "1m"))
        found = totals(result)
        told = as_json(found, timeline(result, found), ["a promise"], result.start)
        tables = {block.title: block.rows for block in blocks(found, [], ["a promise"])}
        rows = {row[0]: row for row in tables["Totals"]}
        self.assertEqual((4, "4"), (told["accepted"], rows["accepted"][1]))
        self.assertEqual((["a promise"], "1", "a promise"), (told["broken"], *rows["promises broken"][1:]))
        self.assertEqual("a.test", told["sites"][0]["name"])
        self.assertEqual(([0.0, 0], START), (told["depth"][0], told["start"]))

    def test_no_steps_too_many(self) -> None:
        """However often the depth changes it is told in few steps, with its highest and its last one."""
        steps = [(float(at), at % 100 if at != 777 else 5000) for at in range(10_000)]
        kept = thinned(steps, 10_000.0, 50)
        self.assertTrue(len(kept) <= 51)
        self.assertIn((777.0, 5000), kept)
        self.assertEqual(steps[-1], kept[-1])

    def test_times(self) -> None:
        """Times and spans as people read them."""
        self.assertEqual("+1d02:03:04", clock(93784.4))
        wanted = {0.44: "0.4 s", 59.9: "59.9 s", 200: "3 min 20 s", 3600: "1 h", 7320: "2 h 2 min", 190_800: "2 d 5 h"}
        self.assertEqual(wanted, {seconds: span(seconds) for seconds in wanted})

    def test_stopping(self) -> None:
        """A run that is stopped ends between two steps and leaves no directory."""
        simulation = Simulation(configuration(), scenario("duration = '1h'\n" + LOAD.format(4, "30m")))
        with simulation:
            simulation.world.clock.callLater(600, simulation.stop)
            self.assertRaises(Stopped, simulation.run)
            self.assertEqual(simulation.world.start + 600, simulation.world.clock.seconds())
            directory = simulation.config.state_dir
            self.assertTrue(directory.exists())
        self.assertFalse(directory.exists())


def _figures(found: Totals) -> tuple[int, ...]:
    return found.messages, found.accepted, found.delivered, found.deferred, found.bounced, found.expired


def _site(site: Any) -> tuple[Any, ...]:
    return site.name, site.kinds[Kind.DELIVERED], site.left, site.peak_connections, site.peak_rate


def _names(number: int) -> list[str]:
    return [f"n{each}.test" for each in range(number)]
