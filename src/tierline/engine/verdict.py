"""Yes or no, with the reason: what `access` and `governor` answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allow:
    """It may be done."""


@dataclass(frozen=True, slots=True)
class Deny:
    """It may not be done."""

    reason: str
    """Why, in words for the operator's log; a peer that is denied is told nothing but 404."""


Verdict = Allow | Deny
ALLOW = Allow()
