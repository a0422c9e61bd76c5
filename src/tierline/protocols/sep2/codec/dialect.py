"""What is spoken with one peer: the edition, the tolerances, and how much is accepted at once."""

from dataclasses import dataclass
from typing import Final

from tierline.protocols.sep2.resources.rows import (
    CSIP_AUS_NAMESPACES,
    DRAFT_NAMESPACE,
    SEP_NAMESPACE,
    Edition,
    Element,
    Space,
    includes,
)

XSI_NAMESPACE: Final = "http://www.w3.org/2001/XMLSchema-instance"
CSIP_AUS_PREFIX: Final = "csipaus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a document may be; each is checked before its cost arises."""

    size_bytes: int = 1 << 20
    depth: int = 32
    elements: int = 20_000
    """The largest legitimate page, 255 devices with all their links, has about 8,000."""
    attributes: int = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one peer is spoken to. Rows of other editions are neither written nor read."""

    edition: Edition = Edition.IEEE_2018
    draft_namespace: bool = False
    """Also read documents in the namespace of draft 2.0.4."""
    exact_lfdi: bool = False
    """Refuse an LFDI of fewer than 40 digits instead of padding it (CSIP-AUS)."""
    limits: Limits = Limits()

    def knows(self, since: Edition) -> bool:
        """Tell whether a row that exists since an edition is spoken."""
        return includes(self.edition, since)

    def namespace(self, space: Space) -> str | None:
        """Find the address of a namespace family, if the edition has it."""
        return SEP_NAMESPACE if space is Space.SEP else CSIP_AUS_NAMESPACES.get(self.edition)

    def read_namespaces(self, space: Space) -> tuple[str, ...]:
        """List the namespaces in which an element of a family is read."""
        own = self.namespace(space)
        namespaces = () if own is None else (own,)
        return (*namespaces, DRAFT_NAMESPACE) if self.draft_namespace and space is Space.SEP else namespaces

    def tags(self, mark: Element) -> tuple[str, ...]:
        """List the qualified names under which an element is read."""
        names = (mark.name, *mark.aliases)
        return tuple(f"{{{namespace}}}{name}" for namespace in self.read_namespaces(mark.space) for name in names)


CSIP: Final = Dialect()
"""The 2018 edition and nothing else."""
