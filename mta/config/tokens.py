"""
Options of access tokens for next hops (OAuth 2.0): the tables [[client.tokens]].

Owns: where they come from and who we are there.
Never: compares one option with another (`mta/config/credentials.py`), or asks anybody.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from mta.config.fields import Name, OptionalFile
from mta.config.oauth import https_url
from mta.config.option import REQUIRED, Table, option
from mta.token_grant import TokenGrant


class TokenTable(Table):
    """Access tokens (OAuth 2.0) for next hops that want OAUTHBEARER or XOAUTH2; a route names one of these."""

    name: Name = option(REQUIRED, 'What routes call it: token = "NAME".', unit="name", sample="mail")
    url: Annotated[str, AfterValidator(https_url)] = option(
        REQUIRED,
        "The token endpoint, an https:// URL.",
        unit="URL",
        sample="https://id.example.org/oauth2/token",
    )
    grant: Literal["client_credentials", "refresh_token"] = option(
        "client_credentials",
        'How it is asked for a token: "client_credentials" with client_id and client_secret (RFC 6749 4.4),'
        ' "refresh_token" with what a person has consented to (RFC 6749 6).',
        unit='"client_credentials", "refresh_token"',
        source="a server has no person beside it",
    )
    client_id: str = option(REQUIRED, "Who we are there.", unit="text", sample="mta")
    client_secret: str = option(
        "",
        'The secret that belongs to it: "${NAME}", with NAME, or NAME_FILE as the path of a file, in the environment.',
        unit="text",
        source="some clients have none",
    )
    client_auth: Literal["basic", "body"] = option(
        "basic",
        'How the secret is told: "basic" in an Authorization field, "body" beside the other parameters.',
        unit='"basic", "body"',
        source="RFC 6749 2.3.1: each server knows the first",
    )
    scope: str = option(
        "", "What the token is to be good for, as the server spells it.", unit="text", source="RFC 6749 3.3"
    )
    refresh_token: str = option(
        "",
        'The refresh token to begin with, as "${NAME}". Newer ones are kept in state_dir/tokens; another one here'
        " counts from then on.",
        unit="text",
        source="none",
    )
    ca_file: OptionalFile = option(
        "",
        "A PEM file with the authorities that the web server is verified by; empty for those of the system. Relative to"
        " the directory that the daemon is started in.",
        unit="path",
        source="the Web PKI",
    )

    def as_grant(self) -> TokenGrant:
        """As the program takes it."""
        return TokenGrant(
            self.name,
            self.url,
            self.client_id,
            self.client_secret,
            self.scope,
            self.refresh_token,
            self.client_auth == "body",
        )
