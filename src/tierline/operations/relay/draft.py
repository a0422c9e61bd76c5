"""The change that one walk makes to the serving half, gathered before it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from tierline.operations.serving.audit import entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tierline.model.identity import DerId, GroupId, Lfdi, Mrid
    from tierline.model.parties import Principal
    from tierline.model.programs import FleetSeen
    from tierline.model.records import AuditRecord, Record
    from tierline.operations.relay.relayed import Relayed
    from tierline.operations.serving.state import Serving

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Changes:
    """What one walk changed here."""

    registered: list[DerId] = field(default_factory=list)
    created: list[Mrid] = field(default_factory=list)
    """Controls that were not here before."""
    changed: list[Mrid] = field(default_factory=list)
    """Controls that say something else now."""
    cancelled: list[Mrid] = field(default_factory=list)
    """Controls that are cancelled now, or are not shown any more before their end."""
    defaults: list[Mrid] = field(default_factory=list)
    """Programs whose default is another one now, or none."""
    added: list[Mrid] = field(default_factory=list)
    """Programs."""
    removed: list[Mrid] = field(default_factory=list)
    """Programs."""
    moved: list[DerId] = field(default_factory=list)
    """Those assigned to other programs than before."""
    refused: dict[str, str] = field(default_factory=dict)
    """What cannot be passed on, told for the first time, and why."""
    commits: int = 0
    """1 when anything was written."""


class Draft:
    """What is to be put and deleted, what changes by it, and what is refused."""

    def __init__(self, principal: Principal, serving: Serving, relayed: Relayed, seen: FleetSeen) -> None:
        self.principal = principal
        self.serving = serving
        self.relayed = relayed
        self.seen = seen
        self.now: datetime = serving.clock.now()
        self.changes = Changes()
        self.put: list[Record] = []
        self.delete: list[Record] = []
        self.refused: dict[str, str] = {}
        """All that cannot be passed on now, and why."""
        self.members: dict[Lfdi, DerId] = {}
        self.elsewhere: set[DerId] = set()
        """Those of them that the server above assigned to this node once, and assigns no more."""
        self.groups: dict[Mrid, GroupId] = {
            mrid: served.record.group_id
            for mrid, served in serving.programs.items()
            if served.record.channel == relayed.channel
        }
        """Of each program of the channel."""
        self.owner_of: dict[Mrid, Mrid] = {}
        """Controls and curves, and the programs of this walk that have them."""
        self._audit: AuditRecord | None = serving.audit_tail

    def note(self, verb: str, resource: str, outcome: str, detail: Mapping[str, object]) -> None:
        """Add a line to the audit."""
        self._audit = entry(self.principal, self.serving, verb, resource, outcome, detail, after=self._audit)
        self.put.append(self._audit)

    def tell_what_is_refused(self) -> None:
        """Write down and tell what is refused, when it is so for the first time."""
        known, party = self.relayed.refused, self.serving.party
        for what, why in self.refused.items():
            if known.get(what) != why:
                log.warning("not_relayed", channel=self.relayed.channel, what=what, why=why)
                self.put.append(self.relayed.refused_record(party, what, why))
                self.changes.refused[what] = why
                self.note("relay", what, "refused", {"reason": why, "channel": self.relayed.channel})
        self.delete += [
            self.relayed.refused_record(party, what, why) for what, why in known.items() if what not in self.refused
        ]
