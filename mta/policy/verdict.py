"""
What a policy says to a question.

Owns: the shape of a verdict.
Never: decides one.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.reply import Reply


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reply` refuses, None accepts; `reason` names the rule that decided, for the log and for `mta explain`."""

    reply: Reply | None
    reason: str

    @property
    def accepts(self) -> bool:
        return self.reply is None
