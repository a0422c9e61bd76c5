"""What is an EndDevice's own: its entry, registration, assignments, DER, what it said of itself, and its subscriptions.

An EndDevice is shown to itself and to those who stand for it. To itself it shows its subscriptions; while a control point
shows its assignments in this node's stead, it is shown none here. So one DER is listed with assignments to one peer and with
none to another: to a control point that does not feed it now.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tierline.model.identity import Mrid, sfdi_of
from tierline.protocols.sep2.codec import parse, render, render_fragment
from tierline.protocols.sep2.hrefs import Href, Place
from tierline.protocols.sep2.mapping.times import write_time
from tierline.protocols.sep2.resources import der, devices, exchange
from tierline.protocols.sep2.resources.objects import Link, ListLink
from tierline.protocols.sep2.views.keeping import cut, joined
from tierline.protocols.sep2.views.names import FSA, INFO_PLACES, INFO_TYPES

if TYPE_CHECKING:
    from tierline.model.identity import DerId
    from tierline.model.records import EndDeviceRecord, SubscriptionRecord
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.views.keeping import Asked, Keeping, Rates
    from tierline.protocols.sep2.views.pricing import PricingViews
    from tierline.protocols.sep2.views.programs import ProgramViews
    from tierline.protocols.sep2.views.sight import Sight


class EntryViews:
    """The EndDevices of one serving node."""

    def __init__(
        self,
        serving: Serving,
        rates: Rates,
        keeping: Keeping,
        sight: Sight,
        programs: ProgramViews,
        pricing: PricingViews,
    ) -> None:
        self._serving = serving
        self._rates = rates
        self._keeping = keeping
        self._sight = sight
        self._programs = programs
        self._pricing = pricing

    def end_devices(self, asked: Asked) -> bytes:
        """Render the list of all a peer sees."""

        def fragment(der_id: DerId) -> bytes:
            return self._end_device(self._serving.devices[der_id], asked)[0]

        ordered = self._sight.ordered(asked.peer)
        return cut(devices.EndDeviceList, asked, ordered, fragment, self._rates.poll_s, subscribable=True)

    def end_device(self, asked: Asked) -> bytes:
        """Render one EndDevice."""
        return self._end_device(asked.subject, asked)[1]

    def registration(self, asked: Asked) -> bytes | None:
        """Render when it was registered, and its PIN."""
        device = asked.subject
        if device.pin is None:
            return None
        registered = write_time(device.registered_at)
        return render(devices.Registration(href=str(asked.href), date_time_registered=registered, pin=device.pin))

    def assignments_list(self, asked: Asked) -> bytes | None:
        """Render the list of its assignments."""
        if asked.subject.aggregates is not None:
            return None
        fragments = [self._assignments(asked)[0]] if self._is_assigned(asked) else []
        return joined(
            devices.FunctionSetAssignmentsList,
            asked.href,
            asked.query,
            fragments,
            self._rates.poll_s,
            subscribable=True,
        )

    def assignments(self, asked: Asked) -> bytes | None:
        """Render its one assignment."""
        return self._assignments(asked)[1] if asked.href.fsa == FSA and self._is_assigned(asked) else None

    def programs(self, asked: Asked) -> bytes | None:
        """Render the list of the programs it is assigned to now."""
        if asked.href.fsa != FSA or not self._is_assigned(asked):
            return None
        found = self._serving.programs_for(asked.subject.der_id)
        fragments = [self._programs.program(served, asked.now)[0] for served in found]
        return joined(der.DERProgramList, asked.href, asked.query, fragments, self._rates.poll_s, subscribable=True)

    def tariffs(self, asked: Asked) -> bytes | None:
        """Render the list of the tariffs that concern it."""
        return self._pricing.for_one(asked) if asked.href.fsa == FSA and self._is_assigned(asked) else None

    def ders(self, asked: Asked) -> bytes | None:
        """Render the list of its one DER."""
        if asked.subject.aggregates is not None:
            return None
        return joined(der.DERList, asked.href, asked.query, [self._der(asked)[0]], self._rates.poll_s)

    def der(self, asked: Asked) -> bytes | None:
        """Render its one DER."""
        return self._der(asked)[1] if asked.href.number == 1 and asked.subject.aggregates is None else None

    def info(self, asked: Asked) -> bytes | None:
        """Render what it said of itself."""
        href = asked.href
        if href.number is not None and (href.number != 1 or asked.subject.aggregates is not None):
            return None
        if not self._sight.hears(asked.peer, asked.subject.der_id):
            return None
        kind = INFO_PLACES[href.place]
        record = self._serving.infos.get((asked.subject.der_id, kind))
        return None if record is None else render(parse(record.document, INFO_TYPES[kind]), href=str(href))

    def subscriptions(self, asked: Asked) -> bytes:
        """Render the list of its subscriptions; to itself only, they tell where its notices go."""
        own = self._serving.subscriptions_of.get(asked.peer.der_id, {}) if asked.is_own else {}
        ordered = [own[key] for key in sorted(own)]
        return cut(
            exchange.SubscriptionList,
            asked,
            ordered,
            lambda record: render_fragment(_subscription(record)),
            self._rates.poll_s,
        )

    def subscription(self, asked: Asked) -> bytes | None:
        """Render one of its subscriptions."""
        own = self._serving.subscriptions_of.get(asked.peer.der_id, {}) if asked.is_own else {}
        record = own.get(asked.href.subscription or "")
        return None if record is None else render(_subscription(record))

    def _is_assigned(self, asked: Asked) -> bool:
        if asked.subject.aggregates is not None:
            return False
        if asked.is_own:
            return self._sight.has_assignments(asked.peer)
        return self._sight.sees_assignments(asked.peer, asked.subject.der_id)

    def _end_device(self, device: EndDeviceRecord, asked: Asked) -> tuple[bytes, bytes]:
        der_id = device.der_id
        is_own = der_id == asked.peer.der_id
        sight = self._sight
        is_assigned = sight.has_assignments(device) if is_own else sight.sees_assignments(asked.peer, der_id)

        def link(place: Place) -> str:
            return str(Href(place=place, der=der_id))

        def make() -> tuple[bytes, bytes]:
            serving = self._serving
            lfdi, is_der = serving.lfdi_of[der_id], device.aggregates is None
            subscriptions = len(serving.subscriptions_of.get(der_id, ())) if is_own else 0
            resource = devices.EndDevice(
                href=link(Place.END_DEVICE),
                subscribable=1,
                der_list_link=ListLink(href=link(Place.DER_LIST), all=1) if is_der else None,
                device_category=(device.device_category or None) if is_der else None,
                device_information_link=Link(href=link(Place.DEVICE_INFORMATION)),
                lfdi=lfdi,
                sfdi=sfdi_of(lfdi),
                changed_time=write_time(device.changed_at),
                enabled=device.enabled,
                function_set_assignments_list_link=ListLink(
                    href=link(Place.FUNCTION_SET_ASSIGNMENTS_LIST), all=int(is_assigned)
                )
                if is_der
                else None,
                post_rate=self._rates.post_s,
                registration_link=None if device.pin is None else Link(href=link(Place.REGISTRATION)),
                subscription_list_link=ListLink(href=link(Place.SUBSCRIPTION_LIST), all=subscriptions),
            )
            return render_fragment(resource), render(resource)

        version = self._serving.versions[f"device:{der_id}"]
        return self._keeping.keep(("edev", der_id, is_own, is_assigned), version, make, asked.now)

    def _assignments(self, asked: Asked) -> tuple[bytes, bytes]:
        der_id = asked.subject.der_id

        def make() -> tuple[bytes, bytes]:
            programs = self._serving.programs_for(der_id)
            digest = hashlib.sha256(f"fsa/{der_id}".encode()).hexdigest()
            resource = devices.FunctionSetAssignments(
                href=str(Href(place=Place.FUNCTION_SET_ASSIGNMENTS, der=der_id, fsa=FSA)),
                mrid=Mrid(f"{digest[:24].upper()}{self._serving.pen:08X}"),
                description="topology",
                der_program_list_link=ListLink(
                    href=str(Href(place=Place.DER_PROGRAM_LIST, der=der_id, fsa=FSA)), all=len(programs)
                ),
                response_set_list_link=ListLink(href=str(Href(place=Place.RESPONSE_SET_LIST)), all=1),
                tariff_profile_list_link=self._pricing.link_of(der_id),
                time_link=Link(href=str(Href(place=Place.TIME))),
                # Without `all`: that would change untold whenever the device makes a mirror.
                usage_point_list_link=ListLink(href=str(Href(place=Place.DEVICE_USAGE_POINT_LIST, der=der_id))),
            )
            return render_fragment(resource), render(resource)

        version = self._assigned(der_id), self._serving.versions["tariffs"]
        return self._keeping.keep(("fsa", der_id), version, make, asked.now)

    def _der(self, asked: Asked) -> tuple[bytes, bytes]:
        der_id, is_assigned = asked.subject.der_id, self._is_assigned(asked)

        def make() -> tuple[bytes, bytes]:
            def link(place: Place) -> Link:
                return Link(href=str(Href(place=place, der=der_id, number=1)))

            resource = der.DER(
                href=str(Href(place=Place.DER, der=der_id, number=1)),
                associated_der_program_list_link=ListLink(
                    href=str(Href(place=Place.DER_PROGRAM_LIST, der=der_id, fsa=FSA)),
                    all=len(self._serving.programs_for(der_id)),
                )
                if is_assigned
                else None,
                der_availability_link=link(Place.DER_AVAILABILITY),
                der_capability_link=link(Place.DER_CAPABILITY),
                der_settings_link=link(Place.DER_SETTINGS),
                der_status_link=link(Place.DER_STATUS),
            )
            return render_fragment(resource), render(resource)

        return self._keeping.keep(("der", der_id, is_assigned), self._assigned(der_id), make, asked.now)

    def _assigned(self, der_id: DerId) -> int:
        return self._serving.versions[f"assigned:{der_id}"]


def _subscription(record: SubscriptionRecord) -> exchange.Subscription:
    return exchange.Subscription(
        href=str(Href(place=Place.SUBSCRIPTION, der=record.der_id, subscription=record.subscription_id)),
        subscribed_resource=record.resource,
        condition=None
        if record.lower_threshold is None or record.upper_threshold is None
        else exchange.Condition(
            attribute_identifier=0, lower_threshold=record.lower_threshold, upper_threshold=record.upper_threshold
        ),
        encoding=record.encoding,
        level=record.level,
        limit=record.limit,
        notification_uri=record.notification_uri,
    )
