"""A server above a node that stands for many, scripted: what it lists is plain data that a test changes as it likes."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from tierline.model.identity import Lfdi, Mrid, sfdi_of
from tierline.protocols.sep2.codec import parse, render, render_fragment, render_list
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.resources import der, devices, exchange, metering, objects

OWN = Lfdi("A" * 40)
SERVER = "192.0.2.1:8443"
NOON = datetime(2026, 6, 18, 12, 0, tzinfo=UTC)


@dataclass
class Brought:
    status: int
    body: bytes = b""
    location: str = ""


@dataclass
class Member:
    lfdi: Lfdi
    programs: list = field(default_factory=list)
    """By number."""
    pin: int | None = 111115
    category: int = 1 << 20
    enabled: bool = True
    changed: int = 0


@dataclass
class Program:
    primacy: int
    controls: dict = field(default_factory=dict)
    """Percent of opModMaxLimW by number."""
    default: int | None = 10_000


def lfdi_of(number):
    return Lfdi(f"{number + 1:040X}")


def program_mrid(number):
    return Mrid(f"{0xF00 + number:032X}")


def control_mrid(number):
    return Mrid(f"{0xC00 + number:032X}")


class Clock:
    def __init__(self):
        self.time = NOON

    def now(self):
        return self.time

    def move(self, **parts):
        self.time += timedelta(**parts)


@dataclass
class Heard:
    subscribed_resource: str
    status: int = 0
    new_resource_uri: str = ""


class FleetServer:
    """Also the courier to it: answers in memory, notes what was asked and how many at once."""

    def __init__(self, members=3, programs=2, poll_s=60):
        self.clock = Clock()
        self.programs = {number: Program(primacy=10 + number) for number in range(programs)}
        self.members = {
            number: Member(lfdi=lfdi_of(number), programs=list(range(programs))) for number in range(members)
        }
        self.poll_s = poll_s
        self.subscribable = 1
        self.has_subscriptions = True
        self.subscriptions = {}
        """Subscribed paths by the path of the subscription."""
        self.made = 0
        self.written = []
        """(method, path, resource)"""
        self.mirrors = {}
        """Path of each mirror by its mRID."""
        self.says_location = True
        self.instead = {}
        """By path or (method, path): a status, an exception, or what makes an answer of the answer."""
        self.log = []
        self.under_way = self.most_at_once = 0
        self.is_closed = False

    @property
    def entry(self):
        return Entry(
            dcap="/dcap",
            lfdi=OWN,
            channel="utility",
            party="utility",
            server=SERVER,
            server_lfdi=None,
            pin=111115,
        )

    # --- as the courier ---------------------------------------------------------------------------------------------

    async def request(self, method, path, body=b""):
        self.log.append((method, path))
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        bare = path.partition("?")[0]
        made = self.instead.get((method, bare), self.instead.get(bare))
        if isinstance(made, Exception):
            raise made
        if isinstance(made, int):
            return Brought(made)
        answer = self.answer(method, path, body)
        return made(answer) if made else answer

    async def close(self):
        self.is_closed = True

    def asked(self, method="GET"):
        """Give and forget the paths asked for, without their queries."""
        found = [path.partition("?")[0] for verb, path in self.log if verb == method]
        self.log = [line for line in self.log if line[0] != method]
        return found

    def counted(self):
        """Count the requests by the kind of resource."""
        return Counter(path.partition("?")[0].rstrip("0123456789").rpartition("/")[2] for _, path in self.log)

    # --- as the server ----------------------------------------------------------------------------------------------

    def answer(self, method, path, body):
        bare, _, text = path.partition("?")
        if method in {"GET", "HEAD"}:
            query = dict(parse_qsl(text))
            found = self.read(bare, int(query.get("s", 0)), int(query.get("l", 1)))
            return Brought(404) if found is None else Brought(200, found)
        resource = parse(body) if body else None
        self.written.append((method, bare, resource))
        return getattr(self, f"take_{method.lower()}")(bare, resource)

    def take_post(self, path, resource):
        match resource:
            case exchange.Subscription():
                assert path == "/edev/own/sub"
                known = {resource_path: at for at, resource_path in self.subscriptions.items()}
                at = known.get(resource.subscribed_resource, f"/edev/own/sub/{self.made + 1}")
                self.made += 1
                self.subscriptions[at] = resource.subscribed_resource
                return Brought(201, location=at)
            case devices.EndDevice():
                if any(member.lfdi == resource.lfdi for member in self.members.values()):
                    return Brought(200)
                number = max(self.members, default=-1) + 1
                self.members[number] = Member(resource.lfdi, category=resource.device_category)
                return Brought(201, location=f"/edev/{number}")
            case metering.MirrorUsagePoint():
                is_new = resource.mrid not in self.mirrors
                at = self.mirrors.setdefault(resource.mrid, f"/mup/{len(self.mirrors) + 1}")
                return Brought(201 if is_new else 204, location=at if self.says_location else "")
            case metering.MirrorMeterReading():
                return Brought(204 if path in self.mirrors.values() else 404)
            case _:
                return Brought(201, location=f"{path}/1")

    def take_put(self, _path, _resource):
        return Brought(204)

    def take_delete(self, path, _resource):
        if path.startswith("/edev/own/sub/"):
            return Brought(204 if self.subscriptions.pop(path, None) else 404)
        return Brought(204 if self.members.pop(int(path.rpartition("/")[2]), None) else 404)

    def read(self, path, start, limit):
        parts = path.strip("/").split("/")
        match parts:
            case ["dcap"]:
                return render(
                    devices.DeviceCapability(
                        href="/dcap",
                        time_link=objects.Link(href="/tm"),
                        end_device_list_link=objects.ListLink(href="/edev", all=1),
                        mirror_usage_point_list_link=objects.ListLink(href="/mup", all=0),
                    )
                )
            case ["tm"]:
                now = int(self.clock.now().timestamp())
                zero = {"dst_end_time": 0, "dst_offset": 0, "dst_start_time": 0, "tz_offset": 0}
                return render(devices.Time(href="/tm", current_time=now, quality=7, **zero))
            case ["edev"]:
                own = self.own()
                return self.page(devices.EndDeviceList, path, [own, *map(self.device, self.members)], start, limit)
            case ["edev", "own", "rg"]:
                return render(devices.Registration(href=path, date_time_registered=0, pin=111115))
            case ["edev", number, *rest] if number.isdigit() and int(number) in self.members:
                return self.read_member(self.members[int(number)], int(number), path, rest, start, limit)
            case ["derp", number, *rest] if int(number) in self.programs:
                return self.read_program(int(number), path, rest, start, limit)
            case ["mup"]:
                found = [self.mirror(mrid, at) for mrid, at in self.mirrors.items()]
                return self.page(metering.MirrorUsagePointList, path, found, start, limit)
            case ["mup", _]:
                found = [self.mirror(mrid, at) for mrid, at in self.mirrors.items() if at == path]
                return render(found[0]) if found else None
            case _:
                return None

    def read_member(self, member, number, path, rest, start, limit):
        at = f"/edev/{number}"
        match rest:
            case ["rg"]:
                return render(devices.Registration(href=path, date_time_registered=0, pin=member.pin))
            case ["fsa"]:
                one = devices.FunctionSetAssignments(
                    href=f"{at}/fsa/1",
                    mrid=Mrid(f"{number:032X}"),
                    der_program_list_link=objects.ListLink(href=f"{at}/fsa/1/derp", all=len(member.programs)),
                )
                found = [one] if member.programs else []
                return self.page(devices.FunctionSetAssignmentsList, path, found, start, limit)
            case ["fsa", "1", "derp"]:
                return self.page(der.DERProgramList, path, [self.program(one) for one in member.programs], start, limit)
            case ["der"]:
                links = {
                    f"der_{name}_link": objects.Link(href=f"{at}/der/1/{name}")
                    for name in ("availability", "capability", "settings", "status")
                }
                return self.page(der.DERList, path, [der.DER(href=f"{at}/der/1", **links)], start, limit)
            case _:
                return None

    def read_program(self, number, path, rest, start, limit):
        program = self.programs[number]
        match rest:
            case []:
                return render(self.program(number))
            case ["derc"]:
                found = [self.control(one, percent) for one, percent in program.controls.items()]
                return self.page(der.DERControlList, path, found, start, limit)
            case ["dderc"] if program.default is not None:
                return render(
                    der.DefaultDERControl(
                        href=path,
                        mrid=Mrid(f"{0xD00 + number:032X}"),
                        der_control_base=der.DERControlBase(op_mod_max_lim_w=program.default),
                        subscribable=self.subscribable,
                    )
                )
            case _:
                return None

    def page(self, kind, path, items, start, limit):
        cut = [render_fragment(item) for item in items[start : start + limit]]
        optional = {"subscribable": self.subscribable} if issubclass(kind, objects.SubscribableList) else {}
        poll_s = None if kind is der.DERControlList else self.poll_s
        return render_list(kind, path, len(items), cut, poll_s, **optional)

    def own(self):
        sub = objects.ListLink(href="/edev/own/sub", all=0) if self.has_subscriptions else None
        return devices.EndDevice(
            href="/edev/own",
            lfdi=OWN,
            sfdi=sfdi_of(OWN),
            changed_time=0,
            registration_link=objects.Link(href="/edev/own/rg"),
            subscription_list_link=sub,
        )

    def device(self, number):
        member = self.members[number]
        at = f"/edev/{number}"
        return devices.EndDevice(
            href=at,
            lfdi=member.lfdi,
            sfdi=1 if member.lfdi is None else sfdi_of(member.lfdi),
            changed_time=member.changed,
            enabled=member.enabled,
            device_category=member.category,
            device_information_link=objects.Link(href=f"{at}/di"),
            der_list_link=objects.ListLink(href=f"{at}/der", all=1),
            function_set_assignments_list_link=objects.ListLink(href=f"{at}/fsa", all=int(bool(member.programs))),
            registration_link=None if member.pin is None else objects.Link(href=f"{at}/rg"),
        )

    def program(self, number):
        program = self.programs[number]
        at = f"/derp/{number}"
        return der.DERProgram(
            href=at,
            mrid=program_mrid(number),
            subscribable=self.subscribable,
            primacy=program.primacy,
            der_control_list_link=objects.ListLink(href=f"{at}/derc", all=len(program.controls)),
            default_der_control_link=None if program.default is None else objects.Link(href=f"{at}/dderc"),
        )

    def control(self, number, percent):
        start = int(NOON.timestamp()) + 60
        return der.DERControl(
            href=f"/derc/{number}",
            reply_to="/rsps/r/rsp",
            response_required=3,
            mrid=control_mrid(number),
            creation_time=start - 60,
            event_status=der.EventStatus(current_status=0, date_time=start - 60, potentially_superseded=False),
            interval=objects.DateTimeInterval(duration=600, start=start),
            der_control_base=der.DERControlBase(op_mod_max_lim_w=percent),
        )

    def mirror(self, mrid, at):
        return metering.MirrorUsagePoint(
            href=at, mrid=mrid, role_flags=0, service_category_kind=0, status=1, device_lfdi=OWN, post_rate=300
        )
