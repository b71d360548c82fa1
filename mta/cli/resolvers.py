"""
Ask the resolvers, for `mta check --dns`.

Owns: one question to each server over a blocking socket, and what the answer means for DANE.
Never: is imported before it is needed: the codec brings Twisted along.
Fails: never; what went wrong is a line.
"""

from __future__ import annotations

import secrets
import socket

from mta.config.sending import Dns
from mta.dns.configured import servers_of
from mta.dns.question import Question
from mta.dns.servers import are_trusted
from mta.dns.wire import Alias, Refusal, judge, query, read_response
from mta.lookup import Status


def findings(config: Dns) -> tuple[list[str], list[str]]:
    """What is right with the resolvers, and what is wrong."""
    servers = servers_of(config)
    good: list[str] = []
    bad: list[str] = []
    for host, port in servers:
        trouble = _trouble(config, host, port)
        line = f"{host} port {port}: {trouble or f'validates ({config.validated_name})'}"
        (bad if trouble else good).append(line)
    if not are_trusted(servers, config.trust_ad):
        good.append(f'DANE is off: dns.trust_ad = "{config.trust_ad}" does not trust these resolvers')
    return good, bad


def _trouble(config: Dns, host: str, port: int) -> str:
    """Why a server is no ground for DANE; "" where it is."""
    question = Question(config.validated_name, "A")
    reason = ""
    for _ in range(config.attempts):
        number = secrets.randbits(16)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asked:
                asked.settimeout(config.timeout)
                asked.connect((host, port))
                asked.send(query(question, number))
                response = read_response(asked.recv(4096), question, number)
        except OSError as error:
            reason = f"cannot be asked: {error}"
            continue
        if response is None:
            reason = "sent something that is no answer"
            continue
        said = judge(response, question)
        if isinstance(said, Refusal):
            reason = f"cannot be asked: {said.reason}"
        elif isinstance(said, Alias) or said.status is not Status.COULD_NOT_ASK:
            off = f"does not validate: it did not call {question.name} validated (AD), so DANE is off"
            return "" if said.secure else off
    return reason
