"""What a DER refused at the write, how often, and what is given up because of it (docs/rules.md E24)."""

from collections.abc import Iterable, Mapping

from tierline.engine.arbitration import Applied, Claim, Entry, Wish
from tierline.model.capability import Firmness, Refusal
from tierline.model.control import FunctionName

GIVEN_UP_AFTER = 3
"""Refusals in a row after which a value that the DER might take at another time is given up."""


class Refusals:
    """Those of one DER."""

    def __init__(self) -> None:
        self.given_up: dict[Wish, str] = {}
        """What is left out for as long as it is wanted, and why."""
        self._counts: dict[Wish, int] = {}
        self._last: dict[FunctionName, str] = {}

    @property
    def standing(self) -> Mapping[FunctionName, str]:
        """What the DER is wanted to hold, or to be released from, and refuses."""
        return {name: why for (name, *_), why in self.given_up.items()} | self._last

    def note(self, target: Applied, refused: Mapping[FunctionName, Refusal]) -> list[Entry]:
        """Take in what came of a write of a target; gives what is to be given up now.

        What says nothing of a value counts neither as a refusal nor as taken.
        """
        self._last = {name: refusal.reason for name, refusal in refused.items()}
        asked = [entry for entry in target.explanation if entry.applied and entry.function in refused]
        self._counts = {
            entry.wish: self._counts.get(entry.wish, 0) + (refused[entry.function].firmness is not Firmness.PASSING)
            for entry in asked
        }
        return [
            entry
            for entry in asked
            if refused[entry.function].firmness is Firmness.NEVER or self._counts[entry.wish] >= GIVEN_UP_AFTER
        ]

    def keep_only(self, claims: Iterable[Claim]) -> None:
        """Forget what is wanted no longer: it is tried when it is wanted again."""
        wanted = {claim.wish for claim in claims}
        self.given_up = {wish: why for wish, why in self.given_up.items() if wish in wanted}

    def forget(self) -> None:
        """Forget all: the DER may be another one."""
        self.given_up, self._counts, self._last = {}, {}, {}
