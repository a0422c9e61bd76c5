"""What peers sent up, as they may read it again: mirrors of all they stand for, Responses of those they are shown the assignments of.

A control point that still holds readings of a DER that has left it finds the mirror to post them to; reads them it does not.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from tierline.model.identity import Lfdi, Mrid
from tierline.model.programs import ResponseStatus
from tierline.protocols.sep2.codec import parse, render, render_fragment
from tierline.protocols.sep2.hrefs import Href, Place
from tierline.protocols.sep2.lists import mrid_descending, response_key
from tierline.protocols.sep2.mapping.times import write_time
from tierline.protocols.sep2.resources import exchange, metering
from tierline.protocols.sep2.resources.objects import ListLink
from tierline.protocols.sep2.views.keeping import cut, joined
from tierline.protocols.sep2.views.names import RESPONSES, Index, read_response_id, response_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierline.model.records import EndDeviceRecord, MirrorUsagePointRecord, ResponseRecord
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.views.keeping import Asked, Keeping, Rates
    from tierline.protocols.sep2.views.sight import Sight

_NO_LFDI: Final = Lfdi("0" * 40)
"""Stands for a DER without a certificate."""


class ReportViews:
    """Usage points and Responses of one serving node."""

    def __init__(self, serving: Serving, rates: Rates, keeping: Keeping, sight: Sight, controls: Index) -> None:
        self._serving = serving
        self._rates = rates
        self._keeping = keeping
        self._sight = sight
        self._controls = controls

    def mirror_list(self, asked: Asked) -> bytes:
        """Render the list of usage points."""
        return cut(
            metering.MirrorUsagePointList,
            asked,
            self.mirrors(asked),
            lambda mirror: render_fragment(self._placed(mirror)),
            self._rates.poll_s,
        )

    def mirror(self, asked: Asked) -> bytes | None:
        """Render one usage point."""
        found = self._serving.mirrors.get(asked.href.mup or "")
        if found is None or not self._sight.speaks_for(asked.peer, found.der_id):
            return None
        return render(self._placed(found))

    def mirrors(self, asked: Asked) -> Sequence[MirrorUsagePointRecord]:
        """Give the usage points of those a peer speaks for, in standard order."""
        of = self._serving.mirrors_of
        peer = asked.peer

        def make() -> list[MirrorUsagePointRecord]:
            found = [mirror for der in self._sight.all(peer) for mirror in of.get(der, {}).values()]
            return sorted(found, key=lambda mirror: mrid_descending(mirror.mrid))

        if peer.aggregates is None:
            return make()
        version = (self._sight.version(peer, peer.aggregates), self._serving.versions["mirrors"])
        return self._keeping.keep(("mups", peer.der_id), version, make, asked.now)

    def usage_points(self, asked: Asked) -> Sequence[MirrorUsagePointRecord]:
        """Give those of them whose readings a peer may read."""
        peer = asked.peer

        def make() -> list[MirrorUsagePointRecord]:
            return [mirror for mirror in self.mirrors(asked) if self._sight.hears(peer, mirror.der_id)]

        if peer.aggregates is None:
            return make()
        version = (self._sight.heard_version(peer, peer.aggregates), self._serving.versions["mirrors"])
        return self._keeping.keep(("upts", peer.der_id), version, make, asked.now)

    def response_set_list(self, asked: Asked) -> bytes:
        """Render the list of response sets."""
        fragment = render_fragment(self._response_set())
        return joined(exchange.ResponseSetList, asked.href, asked.query, [fragment], self._rates.poll_s)

    def response_set(self, asked: Asked) -> bytes | None:
        """Render the one response set."""
        return render(self._response_set()) if asked.href.set == RESPONSES else None

    def response_list(self, asked: Asked) -> bytes | None:
        """Render the list of Responses."""
        if asked.href.set != RESPONSES:
            return None
        responses = self._responses(asked)
        return cut(exchange.ResponseList, asked, responses, lambda record: render_fragment(_response(record)))

    def response(self, asked: Asked) -> bytes | None:
        """Render one Response."""
        if asked.href.set != RESPONSES or asked.href.response is None:
            return None
        event, der, code = read_response_id(asked.href.response)
        mrid = self._controls.find(event)
        if mrid is None or code not in _STATUSES or not self._sight.hears(asked.peer, der):
            return None
        record = self._serving.responses_of.get(der, {}).get((mrid, ResponseStatus(code)))
        return None if record is None else render(_response(record))

    def _placed(self, mirror: MirrorUsagePointRecord) -> metering.MirrorUsagePoint:
        resource = parse(mirror.document, metering.MirrorUsagePoint)
        href = str(Href(place=Place.MIRROR_USAGE_POINT, mup=mirror.mup_id))
        return msgspec.structs.replace(resource, href=href, post_rate=self._rates.post_s)

    def _response_set(self) -> exchange.ResponseSet:
        digest = hashlib.sha256(f"rsps/{self._serving.party}".encode()).hexdigest()
        return exchange.ResponseSet(
            href=str(Href(place=Place.RESPONSE_SET, set=RESPONSES)),
            mrid=Mrid(f"{digest[:24].upper()}{self._serving.pen:08X}"),
            response_list_link=ListLink(href=str(Href(place=Place.RESPONSE_LIST, set=RESPONSES))),
        )

    def _responses(self, asked: Asked) -> Sequence[ResponseRecord]:
        of = self._serving.responses_of
        peer: EndDeviceRecord = asked.peer

        def make() -> list[ResponseRecord]:
            found = [record for der in self._sight.heard(peer) for record in of.get(der, {}).values()]
            return sorted(found, key=_order)

        if peer.aggregates is None:
            return make()
        version = (self._sight.heard_version(peer, peer.aggregates), self._serving.versions["responses"])
        return self._keeping.keep(("responses", peer.der_id), version, make, asked.now)


_STATUSES: Final = frozenset(ResponseStatus)


def _order(record: ResponseRecord) -> tuple[int | str, ...]:
    return response_key(created_date_time=write_time(record.created_at), end_device_lfdi=record.lfdi or "")


def _response(record: ResponseRecord) -> exchange.DERControlResponse:
    at = response_id(record.mrid, record.der_id, record.status)
    return exchange.DERControlResponse(
        href=str(Href(place=Place.RESPONSE, set=RESPONSES, response=at)),
        created_date_time=write_time(record.created_at),
        end_device_lfdi=record.lfdi or _NO_LFDI,
        status=record.status.value,
        subject=record.mrid,
    )
