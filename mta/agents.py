"""
The delivery agents of a configuration.

Owns: which agent carries which kind of next hop, and the configuration's words for each.
Never: delivers (`mta/delivery/`), or puts anything else together (`mta/assembly.py`).
"""

from __future__ import annotations

from typing import Any

from mta.config.schema import Config
from mta.delivery.capture import CaptureAgent
from mta.delivery.discard import DiscardAgent
from mta.delivery.dispatch import AgentByTransport
from mta.delivery.error import ErrorAgent
from mta.delivery.health import Health
from mta.delivery.maildir import MaildirAgent
from mta.delivery.maildir_plus import MaildirPlusAgent
from mta.delivery.maildir_quota import Quota
from mta.delivery.mbox import MboxAgent
from mta.delivery.next_hops import NextHops
from mta.delivery.nobody import IsNobody
from mta.delivery.pipe import PipeAgent, PipeProgram
from mta.delivery.post import Hook, PostAgent
from mta.delivery.remote import RemoteAgent
from mta.delivery.timeouts import ClientLimits, ClientTimeouts
from mta.destination import Transport
from mta.interfaces import (
    IDeliveryAgent,
    ITlsPolicies,
)
from mta.policy.kept_places import KeptPlaces
from mta.surroundings import Surroundings
from mta.tls.client import ClientTls
from mta.tls.policies import judge_by
from mta.webhook import key_of


def agents(
    config: Config,
    around: Surroundings,
    is_nobody: IsNobody,
    places: KeptPlaces,
    policies: ITlsPolicies,
) -> IDeliveryAgent:
    client = config.client
    remote = RemoteAgent(
        reactor=around.reactor,
        resolver=around.resolver,
        timeouts=ClientTimeouts(**dict(client.timeouts)),
        limits=ClientLimits(client.recipients_per_transaction, client.messages_per_connection),
        hello=config.hello,
        health=Health(config.queue.dead_initial, config.queue.dead_maximum),
        rng=around.rng,
        source_address=client.source_address,
        base=config.state_dir,
        bdat=client.bdat,
        eight_bit=client.eight_bit,
        ip_preference=client.ip_preference,
        places=places,
        tls=ClientTls(client.tls.ca_file, judge_by(around.reactor.seconds)),
        policies=policies,
        reports=around.tls_reports,
        tokens=around.tokens,
        next_hops=NextHops(client.next_hop_failures, config.queue.dead_initial, config.queue.dead_maximum, around.note),
        note=around.note,
    )
    maildir = _maildirs(config, around, is_nobody)
    mbox = MboxAgent(
        base=config.state_dir, clock=around.reactor, run_in_thread=around.run_in_thread, is_nobody=is_nobody
    )
    return AgentByTransport(
        {
            Transport.MX: remote,
            Transport.SMTP: remote,
            Transport.SMTPS: remote,
            Transport.LMTP: remote,
            Transport.LMTP_UNIX: remote,
            Transport.MAILDIR: maildir,
            Transport.MBOX: mbox,
            Transport.DISCARD: DiscardAgent(),
            Transport.ERROR: ErrorAgent(),
            Transport.CAPTURE: CaptureAgent(_maildirs(config, around)),
            Transport.HTTPS: (posts := _posts(config, around)),
            Transport.HTTP: posts,
            Transport.PIPE: _pipes(config, around),
        }
    )


def _maildirs(config: Config, around: Surroundings, is_nobody: IsNobody = lambda _address: False) -> MaildirAgent:
    words: dict[str, Any] = {
        "base": config.state_dir,
        "hostname": config.hostname,
        "clock": around.reactor,
        "run_in_thread": around.run_in_thread,
        "is_nobody": is_nobody,
    }
    options = config.delivery.maildir
    quota = Quota(options.quota, options.quota_messages)
    if not quota.header and not options.folders:
        return MaildirAgent(**words)
    fails = options.over_quota == "fail"
    return MaildirPlusAgent(quota=quota, over_quota_fails=fails, folders=options.folders, **words)


def _pipes(config: Config, around: Surroundings) -> PipeAgent:
    programs = {
        pipe.name: PipeProgram(
            command=pipe.command,
            user=pipe.user,
            directory=pipe.directory,
            time_limit=pipe.time_limit,
            output_limit=pipe.output_limit,
            for_all=pipe.recipients == "all",
            crlf=pipe.line_ends == "crlf",
            environment=pipe.environment,
        )
        for pipe in config.delivery.pipes
    }
    return PipeAgent(programs, base=config.state_dir, reactor=around.reactor, run_in_thread=around.run_in_thread)


def _posts(config: Config, around: Surroundings) -> PostAgent:
    hooks = {
        str(hook.url): Hook(hook.form, tuple(map(key_of, hook.secrets)), hook.timeout, hook.message_size)
        for hook in config.delivery.hooks
    }
    return PostAgent(hooks, web=around.posts, clock=around.reactor, run_in_thread=around.run_in_thread)
