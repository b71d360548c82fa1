"""
`mta dns`: what to publish for a domain, in the DNS and on a web server.

Owns: the records and their order, as a zone file has them.
Never: asks the DNS what is there already, or changes it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from mta.address import AddressError, parse_domain
from mta.cli.configuration import config_option, loaded
from mta.cli.failure import CommandError
from mta.config.schema import Config

# RFC 1035 3.3: a string of a TXT record.
_STRING = 255


@click.command()
@click.argument("domain")
@click.option(
    "--certificate", "files", metavar="FILE", multiple=True, help="Certificates for TLSA instead of those of [tls]."
)
@click.option("--policy", "only_policy", is_flag=True, help="The MTA-STS policy alone, as the web server must send it.")
@config_option
def dns(config: str | None, domain: str, files: tuple[str, ...], only_policy: bool) -> None:
    """
    Print the DNS records that DOMAIN should have, and its MTA-STS policy.

    The records are lines of a zone file; what only you can know stands in comments. The id of the policy follows from
    sts.policy in the configuration: publish the file first, the record second (RFC 8461 8.1).
    """
    checked = loaded(config)
    try:
        name = parse_domain(domain)
    except AddressError as error:
        raise click.BadParameter(str(error), param_hint="DOMAIN") from None
    if name.startswith("["):
        raise click.BadParameter("an address has no records", param_hint="DOMAIN")
    if only_policy:
        click.echo(checked.sts_policy.text(), nl=False)
        return
    for line in records(name, checked, _named(files) if files else _configured(checked)):
        click.echo(line)


@dataclass(frozen=True, slots=True)
class Key:
    """The public key in a certificate's file: its digest as TLSA 3 1 1 has it, or why there is none."""

    file: str
    digest: str = ""
    trouble: str = ""


def records(domain: str, config: Config, keys: Sequence[Key]) -> Iterator[str]:
    """The lines; `keys` are those of our certificates."""
    policy = config.sts_policy
    hosts = [pattern for pattern in policy.mx if not pattern.startswith("*.")] or [config.hostname]
    if domain not in (*config.local.domains, *config.relay.domains):
        yield f"; {domain} is neither in local.domains nor in relay.domains: its mail would be refused here."
        yield ""
    yield "; Where its mail goes. Each host needs its A and AAAA records, and its address a PTR record with its name."
    for number, host in enumerate(hosts, 1):
        yield f"{domain}. IN MX {10 * number} {host}."
    if not policy.matches(config.hostname):
        yield f"; {config.hostname} is not among the hosts of sts.policy.mx: others will not send mail to it."
    yield ""
    yield "; Who sends its mail, and what others do with the rest. A start: add who else sends for you."
    yield _txt(domain, "v=spf1 mx ~all")
    yield _txt(f"_dmarc.{domain}", f"v=DMARC1; p=none; rua=mailto:postmaster@{domain}")
    yield ""
    yield f"; MTA-STS (RFC 8461): mta-sts.{domain} is a web server with a certificate for that name, which answers"
    yield f"; https://mta-sts.{domain}/.well-known/mta-sts.txt with the policy below, as text/plain."
    yield _txt(f"_mta-sts.{domain}", policy.record())
    yield ""
    yield "; Whom others tell how TLS goes (RFC 8460): mailto: or https: addresses, with commas between."
    yield _txt(f"_smtp._tls.{domain}", f"v=TLSRPTv1; rua=mailto:postmaster@{domain}")
    yield ""
    yield "; DANE (RFC 7672), in a zone that is signed alone: the digest of the key in the host's certificate."
    yield from _tlsa(config.hostname, keys)
    yield ""
    yield "; The policy (mta dns --policy prints it alone):"
    yield from (f";   {line}" for line in policy.text().splitlines())


def _txt(name: str, value: str) -> str:
    assert len(value) <= _STRING
    assert '"' not in value
    return f'{name}. IN TXT "{value}"'


def _tlsa(host: str, keys: Sequence[Key]) -> Iterator[str]:
    """A record for each key: certificates that have one in common (a renewal) have their record in common."""
    digests: dict[str, list[str]] = {}
    for key in keys:
        if key.trouble:
            yield f"; {key.trouble}: its record is missing here."
        else:
            digests.setdefault(key.digest, []).append(key.file)
    for digest, files in digests.items():
        yield f"; {', '.join(files)}"
        yield f"_25._tcp.{host}. IN TLSA 3 1 1 {digest}"
    if not keys:
        yield "; There is no certificate to make it of: tls.certificates has none, and --certificate names none."


def _configured(config: Config) -> list[Key]:
    """The keys of [tls]; a file that can't be read takes nothing from the others."""
    found = []
    for each in config.tls.certificates:
        path = config.state_dir / each.certificate
        try:
            found.append(Key(str(path), _key_digest(path)))
        except CommandError as error:
            found.append(Key(str(path), trouble=error.message))
    return found


def _named(files: Sequence[str]) -> list[Key]:
    return [Key(file, _key_digest(Path(file))) for file in files]


def _key_digest(path: Path) -> str:
    """RFC 7671 5.1: SHA-256 of the public key; it stays the same where a certificate is renewed with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", os.EX_NOINPUT) from None
    except ValueError:
        raise CommandError(f"{path}: has no certificate in PEM format", os.EX_DATAERR) from None
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()
