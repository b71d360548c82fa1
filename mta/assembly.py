"""
Put the MTA together.

Owns: which object gets which, and the one way from the configuration's words to their arguments.
Never: binds, opens or starts anything; the daemon (`mta/service.py`) and the simulator hand in the reactor, the spool,
the resolver and chance, and start what they get.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from mta.address import Address
from mta.agents import agents
from mta.auth.backends import logins
from mta.config.receiving import Listener
from mta.config.schema import Config
from mta.config.tables import uses_lookups
from mta.delivery.nobody import IsNobody
from mta.destination import Transport
from mta.dns.destinations import Destinations
from mta.interfaces import (
    IDeliveryAgent,
    ITlsPolicies,
)
from mta.message.templates import load as load_languages
from mta.policy.clients import Networks
from mta.policy.counts import SITES
from mta.policy.directory import Directory, Unknown
from mta.policy.forwarding import Forwarding
from mta.policy.kept_places import KeptPlaces
from mta.policy.limits import Connections, ServerLimits
from mta.policy.refusals import RefusingPolicy
from mta.policy.relay import RelayPolicy
from mta.policy.returning import Returning
from mta.policy.signing import Keys
from mta.policy.srs import Srs
from mta.policy.submitters import SubmitterLimits, Submitters
from mta.queue.bounces import Bouncer
from mta.queue.manager import QueueLimits, QueueManager
from mta.queue.planning import Routes
from mta.queue.report_rate import ReportRate
from mta.queue.schedule import Schedule
from mta.queue.sites import SiteLimits
from mta.reply import Reply
from mta.routing.capture import CapturingRouter
from mta.routing.refusal import parse_refusal
from mta.routing.router import Router
from mta.routing.tls_policies import ConfiguredTls
from mta.server.factory import ServerFactory
from mta.server.listener import Locate, Located
from mta.surroundings import Surroundings
from mta.tables.making import residents
from mta.tables.opening import TableSurroundings
from mta.tables.residents import Residents
from mta.tls.dane_lookup import DaneLookup
from mta.tls.policies import DiscoveredTls
from mta.tls_policy import TlsLevel


@dataclass(frozen=True, slots=True)
class Assembly:
    """
    The parts that are started and stopped: the queue, the agent behind it, a factory for each listener; `close` gives
    back what tables have open.
    """

    queue: QueueManager
    agent: IDeliveryAgent
    servers: tuple[tuple[Listener, ServerFactory], ...]
    close: Callable[[], None] = lambda: None


def schedule(config: Config) -> Schedule:
    """When mail is tried again, as configured."""
    queue = config.queue
    return Schedule(queue.retry, queue.jitter, queue.lifetime, queue.bounce_lifetime, queue.delay_notice)


def doubt_retry(config: Config, rng: random.Random) -> Callable[[int], float] | None:
    """Seconds until what is found in doubt at a start is tried again after so many attempts; None: it is held."""
    if config.client.in_doubt == "hold":
        return None
    found = schedule(config)
    return lambda attempts: found.next_try(0.0, attempts, math.inf, rng)


def assemble(config: Config, around: Surroundings) -> Assembly:
    """The whole MTA of a configuration. Raises `mta.message.templates.TemplateError` for an operator's bad text."""
    directory = config.directory()
    router = _router(config)
    policy = _policy(config, around, directory, router)
    places = KeptPlaces(around.counts.places(SITES), around.reactor.callLater)
    tls = DiscoveredTls(
        ConfiguredTls(config.client.tls.default, config.client.tls.domains),
        DaneLookup(around.resolver),
        around.validates,
        around.sts,
        heeds_no=config.client.tls.heed_tls_required,
    )
    agent = agents(config, around, _nobody(directory, policy), places, tls)
    # One count: what a server promises is what the queue will send.
    report_rate = ReportRate(-(-config.bounce.rate_per_sender // around.workers))
    destinations = Destinations(resolver=around.resolver, clock=around.reactor, own_names=(config.hostname,))
    srs = _srs(config)
    senders = Forwarding(srs, (*config.local.domains, config.hostname), around.reactor.seconds) if srs else None
    queue = _queue(config, around, agent, router, destinations, report_rate, places, tls, senders)

    def locate(recipient: Address) -> Located | Deferred[Located]:
        return destinations.locate(router.route(recipient).next_hop, recipient.domain)

    asked = Returning(policy, srs, around.reactor.seconds) if srs else policy
    servers = _servers(config, around, queue, asked, report_rate, locate if config.relay.check_domains else None)
    close = policy.close if isinstance(policy, Residents) else lambda: None
    return Assembly(queue, agent, tuple(servers), close)


def _policy(config: Config, around: Surroundings, directory: Directory, router: Routes) -> RelayPolicy | Residents:
    """Who may send to whom: the rules of the configuration, in front of tables where it names any."""
    rules = _rules(config, directory, router)
    if not uses_lookups(config):
        return rules
    tables = around.tables or TableSurroundings(
        base=config.state_dir, clock=around.reactor, run_in_thread=around.run_in_thread, note=around.note
    )
    return residents(config, directory, rules, tables)


def _srs(config: Config) -> Srs | None:
    """What rewrites the senders of forwarded mail, if anything."""
    if not config.srs.secrets:
        return None
    return Srs(config.srs.domain or config.hostname, Keys(config.srs.secrets))


def _nobody(directory: Directory, policy: RelayPolicy | Residents) -> IsNobody:
    """Tells of a recipient whether no such user is here."""
    if isinstance(policy, Residents):
        return policy.is_nobody
    return lambda recipient: isinstance(directory.resolve(recipient), Unknown)


def _router(config: Config) -> Routes:
    router = Router(config.rules(), config.local.domains, config.local.maildir, config.hostname)
    capture = config.delivery.capture
    return CapturingRouter(router, capture.maildir, capture.allow) if capture.maildir else router


def _rules(config: Config, directory: Directory, router: Routes) -> RelayPolicy:
    """Whom mail is taken for. Routes are asked at RCPT only where one of them refuses."""
    rules: dict[str, Any] = {
        "networks": config.relay.networks,
        "relay_domains": config.relay.domains,
        "refused": config.relay.refused,
    }
    if all(route.next_hop.transport is not Transport.ERROR for route in config.routes):
        return RelayPolicy(directory, **rules)

    def refusal(recipient: Address) -> Reply | None:
        next_hop = router.route(recipient).next_hop
        return parse_refusal(next_hop.target) if next_hop.transport is Transport.ERROR else None

    return RefusingPolicy(directory, refusal, **rules)


def _queue(
    config: Config,
    around: Surroundings,
    agent: IDeliveryAgent,
    router: Routes,
    destinations: Destinations,
    report_rate: ReportRate,
    places: KeptPlaces,
    tls: ITlsPolicies,
    senders: Forwarding | None,
) -> QueueManager:
    queue = config.queue
    return QueueManager(
        spool=around.spool,
        agent=agent,
        router=router,
        destinations=destinations,
        schedule=schedule(config),
        site_limits=SiteLimits(
            initial=queue.site_connections_initial,
            maximum=queue.site_connections,
            cohort_failures=queue.cohort_failures,
            dead_initial=queue.dead_initial,
            dead_maximum=queue.dead_maximum,
        ),
        limits=QueueLimits(
            active_messages=-(-queue.active_messages // around.workers),
            active_recipients=-(-queue.active_recipients // around.workers),
            deliveries=-(-queue.deliveries // around.workers),
            recipients_per_transaction=config.client.recipients_per_transaction,
            message_cache=queue.message_cache,
        ),
        bouncer=Bouncer(
            hostname=config.hostname,
            report_from=config.postmaster,
            full_below=config.bounce.full_below,
            languages=load_languages(config.bounce.languages, config.templates),
            double_bounce=config.double_bounce,
            rate=report_rate,
        ),
        ids=around.ids,
        clock=around.reactor,
        rng=around.rng,
        hold_doubt=config.client.in_doubt == "hold",
        places=places,
        others=around.others,
        tls=tls,
        senders=senders,
    )


def _servers(
    config: Config,
    around: Surroundings,
    queue: QueueManager,
    policy: RelayPolicy | Residents | Returning,
    report_rate: ReportRate,
    locate: Locate | None,
) -> list[tuple[Listener, ServerFactory]]:
    words = dict(config.limits)
    del words["free_space_percent"]  # `room` knows it
    limits = ServerLimits(**words)
    connections = Connections(limits, config.hostname, around.counts)  # one count over all listeners
    normalize_networks = Networks(config.content.normalize_networks)
    authentication = logins(config, around.reactor, around.run_in_thread, around.web)
    submitters = Submitters(
        SubmitterLimits(**{name: getattr(config.auth, name) for name in SubmitterLimits.__slots__}),
        frozenset(config.local.domains),
        around.counts,
    )
    return [
        (
            listener,
            ServerFactory(
                hostname=config.hostname,
                listener=listener.name,
                role=listener.role,
                policy=policy,
                limits=limits,
                connections=connections,
                spool=around.spool,
                queue=queue,
                storage_room=around.room,
                clock=around.reactor,
                bare_newlines=config.content.bare_newlines,
                normalize_networks=normalize_networks,
                log=around.note,
                reports_room=report_rate.has_room,
                etrn_domains=config.relay.etrn_domains,
                locate=locate,
                tls=around.tls if listener.tls != "none" else None,
                implicit_tls=listener.tls == "implicit" and around.tls is not None,
                handshake_timeout=config.tls.handshake_timeout,
                authentication=authentication if listener.auth or listener.role == "submission" else None,
                auth_in_clear=listener.auth_without_tls,
                submitters=submitters,
                hide_submitter=config.auth.hide_submitter,
                proxies=listener.proxies,
                xclient=listener.xclient,
                # A client that is told to do without TLS could not keep the promise.
                requiretls=config.tls.requiretls and config.client.tls.default is not TlsLevel.NONE,
            ),
        )
        for listener in config.listeners
    ]
