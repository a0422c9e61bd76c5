"""IEEE 2030.5-2018 documents as plain text, and what a head-end holds that they are written from."""

from __future__ import annotations

from dataclasses import dataclass, field

NS = "urn:ieee:std:2030.5:ns"
POLL_S = 10
REPLY_TO = "/r/0/rsp"


@dataclass
class Curve:
    """One DERCurve; the numbers of its type are those of the 2018 edition."""

    mrid: str
    type: int
    points: list[tuple[int, int]]
    created: int = 0
    open_loop_tms: int | None = None
    x_multiplier: int = 0
    y_multiplier: int = 0
    y_ref_type: int = 0


@dataclass
class Event:
    """One DERControl; without a status it is scheduled or active by the time."""

    mrid: str
    start: int
    duration: int
    modes: dict
    """Element of DERControlBase to its text, or to the Curve it links to."""
    created: int = 0
    status: int | None = None
    randomize_start: int | None = None
    randomize_duration: int | None = None
    response_required: str = "03"

    def status_at(self, now):
        if self.status is not None:
            return self.status
        return 1 if now >= self.start + min(0, self.randomize_start or 0) else 0


@dataclass
class Program:
    """One DERProgram with its controls, its default and its curves."""

    mrid: str
    primacy: int
    events: list[Event] = field(default_factory=list)
    default: dict | None = None
    """Elements of the base, and settings such as setGradW beside it."""
    curves: list[Curve] = field(default_factory=list)

    @property
    def id(self):
        return self.mrid.lstrip("0").lower()


@dataclass
class Assignment:
    """One FunctionSetAssignments."""

    mrid: str
    programs: list[Program]


@dataclass
class Device:
    """One EndDevice."""

    lfdi: str
    assignments: list[Assignment] = field(default_factory=list)
    pin: int = 111115
    stands_for_others: bool = False
    """An aggregator's own entry: it has subscriptions and no assignments."""

    @property
    def sfdi(self):
        number = int(self.lfdi[:9], 16)
        return number * 10 + -sum(map(int, str(number))) % 10


def mrid(digits):
    """Write an mRID at its full length."""
    return digits.upper().zfill(32)


def root(name, inner, href, **attributes):
    """Write a whole document."""
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="{NS}" href="{href}"{more}>{inner}</{name}>'


def element(name, inner, **attributes):
    """Write one element."""
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{more}>{inner}</{name}>" if inner != "" else f"<{name}{more}/>"


def link(name, href, count=None):
    """Write a Link, or a ListLink when it counts."""
    return element(name, "", href=href) if count is None else element(name, "", href=href, all=count)


def optional(name, value):
    return "" if value is None else element(name, value)


def base(modes):
    """Write a DERControlBase, its elements in the order of the schema."""
    inner = ""
    for name in sorted(modes, key=str.lower):
        value = modes[name]
        inner += link(name, f"/dc/{value.mrid.lower()}") if isinstance(value, Curve) else element(name, value)
    return element("DERControlBase", inner)


def control(event, now):
    """Write what stands inside a DERControl."""
    status = element("currentStatus", event.status_at(now)) + element("dateTime", event.created)
    return (
        element("mRID", event.mrid)
        + element("creationTime", event.created)
        + element("EventStatus", status + element("potentiallySuperseded", "false"))
        + element("interval", element("duration", event.duration) + element("start", event.start))
        + optional("randomizeDuration", event.randomize_duration)
        + optional("randomizeStart", event.randomize_start)
        + base(event.modes)
    )


def curve(one):
    """Write what stands inside a DERCurve."""
    points = "".join(element("CurveData", element("xvalue", x) + element("yvalue", y)) for x, y in one.points)
    return (
        element("mRID", one.mrid)
        + element("creationTime", one.created)
        + points
        + element("curveType", one.type)
        + optional("openLoopTms", one.open_loop_tms)
        + element("xMultiplier", one.x_multiplier)
        + element("yMultiplier", one.y_multiplier)
        + element("yRefType", one.y_ref_type)
    )


def default_control(program):
    """Write what stands inside a DefaultDERControl."""
    values = dict(program.default)
    settings = {name: values.pop(name) for name in list(values) if name.startswith("set")}
    inner = element("mRID", mrid("DEF" + program.mrid[-16:])) + base(values)
    return inner + "".join(element(name, settings[name]) for name in sorted(settings, key=str.lower))


def program(one):
    """Write what stands inside a DERProgram."""
    at = f"/p/{one.id}"
    return (
        element("mRID", one.mrid)
        + link("ActiveDERControlListLink", f"{at}/actderc", 0)
        + ("" if one.default is None else link("DefaultDERControlLink", f"{at}/dderc"))
        + link("DERControlListLink", f"{at}/derc", len(one.events))
        + link("DERCurveListLink", f"{at}/dc", len(one.curves))
        + element("primacy", one.primacy)
    )
