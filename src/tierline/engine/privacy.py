"""What one party may see of one value, by the privacy label of its point: a pure decision, as access is.

Two rules. What tells who or where a customer is stays with those who stand for the DER, and a secret with its node. And a sum
tells nothing of one home only while enough of them stand behind it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from tierline.model.points import Label


class Relation(StrEnum):
    """What somebody is to the DER whose value it is."""

    OWN = "own"
    """The node that keeps it."""
    STANDS_FOR = "stands_for"
    """The DER itself, or the party that speaks for it."""
    GRANTED = "granted"
    """A party above that was granted control over some functions."""
    NONE = "none"
    """Anybody else."""


_SEEN: Mapping[Relation, frozenset[Label]] = MappingProxyType(
    {
        Relation.OWN: frozenset(Label),
        Relation.STANDS_FOR: frozenset({Label.PUBLIC, Label.OPERATIONAL, Label.PERSONAL, Label.IDENTITY}),
        Relation.GRANTED: frozenset({Label.PUBLIC, Label.OPERATIONAL}),
        Relation.NONE: frozenset({Label.PUBLIC}),
    }
)
"""The location is nobody's but the registry's: who stands for a DER knows it from elsewhere, or is told by a grant of its own."""

_SUMMED = frozenset({Label.OPERATIONAL, Label.PERSONAL})
"""What can be summed up so that nobody is seen; an identity has no sum."""


def may_see(label: Label, relation: Relation) -> bool:
    """Say whether somebody may see the value of one DER."""
    return label in _SEEN[relation]


def may_see_sum(label: Label, relation: Relation, *, members: int, min_cell: int) -> bool:
    """Say whether somebody may see a sum over some DERs, of which `members` stand behind it."""
    if may_see(label, relation):
        return True
    return relation is Relation.GRANTED and label in _SUMMED and members >= min_cell
