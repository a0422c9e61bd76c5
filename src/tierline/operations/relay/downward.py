"""Down through a relay: the own serving half is brought in line with what the server above shows.

One walk is one transaction, and one that shows nothing new writes nothing. A control keeps its mRID, times and
randomization: nothing is drawn and nothing is answered here, that is for the DERs below. What is not shown any more is
treated as the rules say (docs/rules.md E9, E10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.operations.relay.draft import Changes, Draft
from tierline.operations.relay.enrolling import registered, taken
from tierline.operations.relay.programs import drop_what_is_gone, take_program
from tierline.operations.serving.topology import Move, membership_records

if TYPE_CHECKING:
    from tierline.model.identity import DerId, GroupId, Lfdi
    from tierline.model.parties import Principal
    from tierline.model.programs import FleetSeen, Program
    from tierline.operations.relay.relayed import Relayed
    from tierline.operations.serving.state import Serving

__all__ = ["Changes", "mirror"]


async def mirror(principal: Principal, serving: Serving, relayed: Relayed, seen: FleetSeen) -> Changes:
    """Bring the serving half in line with what the server above shows; what cannot be is refused, the rest goes on.

    Raises: LinkError when the store refuses; nothing changed then.
    """
    async with serving.writing:
        draft = Draft(principal, serving, relayed, seen)
        _enrol(draft)
        for program in sorted(seen.programs.values(), key=_rank):
            take_program(draft, program)
        drop_what_is_gone(draft)
        _assign(draft)
        draft.tell_what_is_refused()
        if draft.put or draft.delete:
            await serving.commit(draft.put, draft.delete)
            draft.changes.commits = 1
            relayed.refused = draft.refused
            relayed.take_members(draft.members, draft.elsewhere)
    return draft.changes


def _rank(program: Program) -> tuple[int, int]:
    """Let an event that several programs show belong to the one that ranks first (docs/rules.md E8)."""
    return program.primacy, -int(program.mrid, 16)


def _enrol(draft: Draft) -> None:
    """Find out who of those listed is registered here, and take in the others where that is wanted."""
    listed = draft.seen.members
    new: dict[Lfdi, DerId] = {}
    if draft.relayed.enrol == "take":
        put, new, refused = taken(draft.serving, listed.values())
        draft.put += put
        for lfdi, why in refused.items():
            draft.refused[f"device {lfdi}"] = why
        if new:
            draft.changes.registered = list(new.values())
            draft.note("register", f"{len(new)} devices", "done", {"lfdi": list(new)})
    for lfdi in listed:
        device = registered(draft.serving, lfdi)
        if lfdi in new or device is not None:
            draft.members[lfdi] = new[lfdi] if device is None else device.der_id
        elif draft.relayed.enrol == "none":
            draft.refused[f"device {lfdi}"] = "it is not registered here"
    known = draft.relayed.members
    party = draft.serving.party
    draft.put += [
        draft.relayed.member_record(party, lfdi, der) for lfdi, der in draft.members.items() if known.get(lfdi) != der
    ]
    gone = {lfdi: der for lfdi, der in known.items() if lfdi not in draft.members}
    draft.delete += draft.relayed.forgotten_records(party, gone)
    if draft.relayed.enrol == "take":
        # To a control point all are listed whom it can feed: who is not assigned any more is served by another, and stays
        # registered. Who never was is nobody else's either, as far as this node knows.
        groups = set(draft.groups.values())
        draft.elsewhere = {
            der
            for lfdi, der in draft.members.items()
            if not listed[lfdi].is_assigned
            and (der in draft.relayed.elsewhere or draft.serving.groups_of.get(der, set()) & groups)
        }
        draft.delete += draft.relayed.unsaid_records(party, draft.elsewhere)
    was, now = draft.relayed.elsewhere, draft.elsewhere
    draft.put += [draft.relayed.elsewhere_record(party, der) for der in sorted(now - was)]
    draft.delete += [draft.relayed.elsewhere_record(party, der) for der in sorted(was - now)]


def _assign(draft: Draft) -> None:
    """Let the group of each program have exactly those who are assigned to it now."""
    wanted: dict[DerId, set[GroupId]] = {der: set() for der in draft.members.values()}
    for lfdi, der in draft.members.items():
        member = draft.seen.members[lfdi]
        if member.enabled:
            shown = [mrid for mrid in member.programs if mrid in draft.seen.programs]
            wanted[der] |= {draft.groups[mrid] for mrid in shown if mrid in draft.groups}
    groups = set(draft.groups.values())
    concerned = set(wanted).union(*(draft.serving.members_of.get(group, set()) for group in groups))
    moves = []
    for der in sorted(concerned):
        has = draft.serving.groups_of.get(der, set()) & groups
        wants = wanted.get(der, set())
        if has != wants:
            moves.append(Move(der_id=der, leaves=tuple(sorted(has - wants)), joins=tuple(sorted(wants - has))))
    draft.put += membership_records(draft.serving, moves, f"relayed from {draft.relayed.channel}")
    draft.changes.moved = [move.der_id for move in moves]
