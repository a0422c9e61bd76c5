"""The oracle for several channels: docs/rules.md section 5 and E23, on top of one story per channel, as slowly and obviously.

Each channel has a story of its own (`sim.oracle`); they go through all their instants together, and what they then command is merged.
It knows of tierline only the table of functions: what each acts on and how it is merged.

The owner's channel (A10) is one story more: of limits only, always heard beside the channel of record, of class 4 and the last rank.

All clocks are taken to agree: times are seconds of one clock, that of every server and that of the node (A8 is in the node's own time).
Where the rules leave something open:
- the owner's standing limits hold in single mode too; among claims they rank as of class 4, after every channel (A3);
- a default control claims as of class 5, whatever its channel's (the list at the end of section 5), with its program's mRID;
- an event is displaced at the first instant at which every mode in which it is in effect is one that another channel won; one overruled
  in some modes only keeps the others, and gets the lost ones back when the other channel's event is over: it still holds them (E13);
- an event starts when the first of its values is carried out (E17: "after the values were written"), not while all are overruled: what is
  displaced at its effective start, or gives way to another event of its channel all the time (A5), never started and has no Response 2;
- of one event that has two functions of one quantity, the first by name is carried out (A5); but a power factor while injecting and one
  while absorbing are one function, the fixed power factor: both hold.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from tierline.model.functions import FUNCTIONS, Bound, Merge, Quantity, Unit, quantity_at
from tierline.sim.oracle import ABORTED_BY_SERVER, Draws, History, Keeps, Walk, _everything, _Story

OWNER = "owner"
"""The channel of what the owner says at the node (A10), and the one named for his standing limits."""

_OWNER_CLASS, _DEFAULT_CLASS = 4, 5
"""Authority classes of docs/rules.md section 5."""

_LAST_RANK = 1 << 30
"""A10: the owner ranks after every channel; so do his standing limits."""

_LIMITS = frozenset(name for name, row in FUNCTIONS.items() if row.merge is Merge.TIGHTEST)
"""A10: all that the owner's channel carries."""

_POWER_FACTORS = frozenset({"fixed_pf_inject_w", "fixed_pf_absorb_w"})
"""The halves of one function (IEEE 1547-2018 5.3.2)."""

Number = Decimal | Fraction | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleChannel:
    """Hold one channel as one DER sees it."""

    name: str
    authority: int
    """Its authority class, 0 to 5, the lower the stronger."""
    rank: int
    """Unique per DER, the lower the stronger."""
    walks: tuple[Walk, ...]
    """In order of time."""
    draws: Draws
    """The offsets drawn for its events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelsHistory:
    """Hold all that one DER saw on all its channels, what its owner wants, and how it is set up."""

    channels: tuple[OracleChannel, ...]
    """In any order (A7)."""
    is_dual: bool
    """A1 or A2 to A5."""
    supported: frozenset[str]
    """The functions the DER carries out (E5)."""
    set_max_w: Number
    """What percentages of generated active power refer to."""
    set_max_charge_rate_w: Number
    """What percentages of absorbed active power refer to."""
    is_at_pcc: bool = False
    """Whether what is commanded acts at the point of common coupling (A5)."""
    supersede_code: str = "14"
    """E18."""
    owner_limits: Mapping[str, Number] = field(default_factory=dict)
    """Function to value; always in force (A2)."""
    owner_says: tuple[Walk, ...] = ()
    """A10: what the node itself, as the server of the owner's channel, shows each time the owner has spoken; never when he never did."""
    owner_draws: Draws = field(default_factory=dict)
    """The offsets drawn for the owner's events."""
    opt_outs: tuple[tuple[str, float], ...] = ()
    """E23: which event the owner refused, and when; also such as may not be."""
    refusable: frozenset[int] = frozenset({3, 4})
    """E23: the authority classes whose events may be refused."""
    record_changes: tuple[tuple[float, str], ...] = ()
    """A8: from when on which channel is of record; before, it is that of the lowest rank (A1)."""
    keeps: Keeps = _everything
    """E5 (c): whether a value is within the capability of the DER, which does not change; the owner's standing limits are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Hold one thing that somebody wants at one instant, and what becomes of it."""

    function: str
    value: object
    channel: str
    source: str
    """The event's mRID, "default:" and the program's mRID, or empty for the owner's standing limits."""
    binds: bool
    """A limit: none of its quantity and side is tighter. Anything else: it wins its quantity, or is why a permission is as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Hold the value a function must have and who commanded it."""

    value: object
    """As commanded; of a set-point that was clipped, a Fraction in the function's own unit."""
    channel: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Hold the limit in force for one quantity and side."""

    watts: Fraction
    channel: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Hold what one DER must do at one instant, once all that happens then has happened."""

    values: Mapping[str, Merged]
    """Set-points, curves, modes, settings and permissions; of the limits those that bind."""
    limits: Mapping[tuple[Quantity, Bound], Limit]
    """The tightest limits."""
    claims: tuple[Claim, ...]
    """All claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelExpected:
    """Hold one Response that must be sent."""

    at: float
    channel: str
    mrid: str
    status: int


def outcome(history: ChannelsHistory, t: float) -> Outcome:
    """Say what the DER must do at `t`, once all that happens at `t` has happened."""
    return _retell(history, t).outcome()


def tell(history: ChannelsHistory) -> Iterator[tuple[float, Outcome]]:
    """Go through all instants in order, and say what the DER must do from each on until the next."""
    chorus = _Chorus(history)
    while (instant := chorus.next_instant()) is not None:
        chorus.happen(instant)
        yield instant, chorus.outcome()


def channel_responses(history: ChannelsHistory, until: float) -> list[ChannelExpected]:
    """List the Responses due up to and including `until`; the order binds for one event."""
    chorus = _retell(history, until)
    sent = [
        ChannelExpected(at=one.at, channel=name, mrid=one.mrid, status=one.status)
        for name, story in chorus.stories.items()
        for one in story.sent
    ]
    return sorted(sent, key=lambda one: one.at)


def channel_violations(history: ChannelsHistory) -> list[str]:
    """Name every offset that was not drawn or not drawn as E1 and E19 demand."""
    return [found for story in _retell(history, float("inf")).stories.values() for found in story.violations()]


def _retell(history: ChannelsHistory, until: float) -> "_Chorus":
    chorus = _Chorus(history)
    while (instant := chorus.next_instant()) is not None and instant <= until:
        chorus.happen(instant)
    return chorus


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """One claim before the merge."""

    function: str
    value: object
    channel: str
    source: str
    rank: tuple[float, float, float, float, str]
    """A3: the greater this is, the earlier it ranks."""


class _Chorus:
    """Follow one DER through the stories of all its channels, instant by instant."""

    def __init__(self, history: ChannelsHistory) -> None:
        self.history = history
        self.now = float("-inf")
        self.channels = {channel.name: channel for channel in (*history.channels, *self.of_owner())}
        self.stories = {name: _Story(self.history_of(channel)) for name, channel in self.channels.items()}
        if not history.is_dual:
            first = min(history.channels, key=lambda channel: channel.rank, default=None)
            for name, story in self.stories.items():
                story.is_of_record = name == OWNER or (first is not None and name == first.name)

    def of_owner(self) -> Iterator[OracleChannel]:
        """A10: the owner's channel, once he speaks."""
        says, draws = self.history.owner_says, self.history.owner_draws
        if says:
            yield OracleChannel(name=OWNER, authority=_OWNER_CLASS, rank=_LAST_RANK, walks=says, draws=draws)

    def history_of(self, channel: OracleChannel) -> History:
        """E23: the owner may refuse the events of some classes only. A10: his channel carries limits only."""
        supported = self.history.supported
        return History(
            walks=channel.walks,
            draws=channel.draws,
            supported=supported & _LIMITS if channel.name == OWNER else supported,
            supersede_code=self.history.supersede_code,
            opt_outs=self.history.opt_outs if channel.authority in self.history.refusable else (),
            keeps=self.history.keeps,
        )

    # --- the passing of time -------------------------------------------------------------------------------------------------

    def next_instant(self) -> float | None:
        """E22: the next of any channel, and the changes of A8."""
        instants = [at for at, _ in self.changes() if at > self.now]
        instants += [at for story in self.stories.values() if (at := story.next_instant()) is not None]
        return min(instants, default=None)

    def changes(self) -> tuple[tuple[float, str], ...]:
        """A8: in single mode only."""
        return () if self.history.is_dual else self.history.record_changes

    def happen(self, instant: float) -> None:
        """E22: a change of the channel of record, walks and refusals; then losses, ends and starts, of all channels.

        What another channel keeps from being carried out does not start (E17: after the values were written), so displacement (A3)
        comes before starts; what a channel settles by itself (E14 to E16) comes before what other channels do to it.
        """
        self.now = instant
        stories = list(self.stories.values())
        for story in stories:
            story.come_to(instant)
        for at, name in self.changes():
            if at == instant:
                self.change_record(name)
        for story in stories:
            story.hear()
        while (
            any(story.lose_modes() or story.end_periods() for story in stories)
            or self.displace()
            or any(story.start_events(self.overruled(name)) for name, story in self.stories.items())
        ):
            pass

    def change_record(self, name: str) -> None:
        """A8; A10: the owner's channel stands beside whichever is of record."""
        for other, story in self.stories.items():
            if other == name:
                story.is_of_record = True
            elif other != OWNER:
                story.depose()

    def displace(self) -> bool:
        """A3: end the events of which every mode in effect is won by another channel; say whether there were any."""
        if not self.history.is_dual:
            return False
        winners = self.winners()
        displaced = []
        for name, story in self.stories.items():
            for seen in story.taking_part():
                modes = [mode for mode in seen.held() if story.in_effect(seen, mode)]
                if modes and all(self.is_won_by_another(mode, name, winners) for mode in modes):
                    displaced.append((story, seen))
        for story, seen in displaced:
            story.finish(seen, ABORTED_BY_SERVER)
        return bool(displaced)

    def overruled(self, channel: str) -> set[tuple[str, str]]:
        """A3, A5: name the events of a channel, and their modes, that something else keeps from being carried out, be it of this channel."""
        winners = self.with_other_halves(self.winners())
        return {
            (wish.source, wish.function)
            for wish in self.wishes()
            if wish.channel == channel and self.contested(wish.function) is not None and wish not in winners
        }

    def is_won_by_another(self, function: str, channel: str, winners: Mapping[object, _Wish]) -> bool:
        """A2 to A4: limits and permissions are never won; anything else is won by quantity."""
        winner = winners.get(self.contested(function))
        return winner is not None and winner.channel != channel

    # --- what is wanted ------------------------------------------------------------------------------------------------------

    def wishes(self) -> list[_Wish]:
        """List what every channel and the owner want now. First-ranked first."""
        found = [
            _Wish(
                function=function,
                value=value,
                channel=OWNER,
                source="",
                rank=(-_OWNER_CLASS, -_LAST_RANK, 0, 0, ""),
            )
            for function, value in self.history.owner_limits.items()
        ]
        for name, story in self.stories.items():
            if story.is_of_record:
                found += self.wishes_of(self.channels[name], story)
        by_name = sorted(found, key=lambda wish: wish.function)
        return sorted(by_name, key=lambda wish: wish.rank, reverse=True)

    def wishes_of(self, channel: OracleChannel, story: _Story) -> Iterator[_Wish]:
        """E12, E20: per function the event in effect, else the default; E5: what is not carried out is left out of a default."""
        events, defaults = story.events_in_effect(), story.defaults()
        for function, seen in events.items():
            yield _Wish(
                function=function,
                value=seen.event.modes[function],
                channel=channel.name,
                source=seen.event.mrid,
                rank=(-channel.authority, -channel.rank, *story.rank(seen)),
            )
        for function, program in defaults.items():
            if function not in events and story.keeps(function, program.default[function]):
                yield _Wish(
                    function=function,
                    value=program.default[function],
                    channel=channel.name,
                    source=f"default:{program.mrid}",
                    rank=(-_DEFAULT_CLASS, -channel.rank, -program.primacy, 0, program.mrid),
                )

    # --- the merge -----------------------------------------------------------------------------------------------------------

    def contested(self, function: str) -> object:
        """A5: what one wins and all others lose: the quantity; None where all stay in force together (A2, A4).

        Settings of defaults follow E20: they are told apart by function.
        """
        row = FUNCTIONS[function]
        if row.merge is Merge.ONE_WINNER:
            return quantity_at(function, at_pcc=self.history.is_at_pcc)
        return function if row.merge is Merge.DEFAULT_ONLY else None

    def winners(self) -> dict[object, _Wish]:
        """A3: the first-ranked of each quantity."""
        found: dict[object, _Wish] = {}
        for wish in self.wishes():
            contested = self.contested(wish.function)
            if contested is not None:
                found.setdefault(contested, wish)
        return found

    def tightest(self) -> dict[tuple[Quantity, Bound], _Wish]:
        """A2: per quantity and side the limit of the fewest watts; of equal ones the first-ranked."""
        found: dict[tuple[Quantity, Bound], _Wish] = {}
        for wish in self.wishes():
            side = self.side(wish.function)
            if side is not None and (side not in found or self.watts(wish) < self.watts(found[side])):
                found[side] = wish
        return found

    def with_other_halves(self, winners: Mapping[object, _Wish]) -> list[_Wish]:
        """A5: a fixed power factor is one function, though it has two names."""
        found = list(winners.values())
        for wish in self.wishes():
            winner = winners.get(self.contested(wish.function))
            if (
                winner is not None
                and wish != winner
                and {wish.function, winner.function} == _POWER_FACTORS
                and (wish.channel, wish.source) == (winner.channel, winner.source)
            ):
                found.append(wish)
        return found

    def side(self, function: str) -> tuple[Quantity, Bound] | None:
        """A2, A5: what a limit bounds; None when it is none that channels share."""
        row = FUNCTIONS[function]
        if row.merge is not Merge.TIGHTEST or row.bound is None:
            return None
        return quantity_at(function, at_pcc=self.history.is_at_pcc), row.bound

    def is_as_tight(self, wish: _Wish, tightest: Mapping[tuple[Quantity, Bound], _Wish]) -> bool:
        """A7: of equal limits each binds."""
        side = self.side(wish.function)
        return side is not None and self.watts(wish) == self.watts(tightest[side])

    def permissions(self) -> dict[str, _Wish]:
        """A4: per function the first-ranked refusal, else the first-ranked permission."""
        wishes = [wish for wish in self.wishes() if FUNCTIONS[wish.function].merge is Merge.ALL_PERMIT]
        found: dict[str, _Wish] = {}
        for wish in [*(wish for wish in wishes if wish.value is False), *wishes]:
            found.setdefault(wish.function, wish)
        return found

    def watts(self, wish: _Wish) -> Fraction:
        """A5: convert to one unit."""
        value = _exact(wish.value)
        if FUNCTIONS[wish.function].unit is Unit.W:
            return value
        return value / 100 * _exact(self.history.set_max_w if value >= 0 else self.history.set_max_charge_rate_w)

    def clipped(self, wish: _Wish) -> object:
        """A3: a set-point of active power, moved within the limits of its quantity."""
        row = FUNCTIONS[wish.function]
        quantity = quantity_at(wish.function, at_pcc=self.history.is_at_pcc)
        tightest = self.tightest()
        if row.unit not in {Unit.W, Unit.PCT_WMAX} or not isinstance(wish.value, int | float | Decimal):
            return wish.value
        watts = wanted = self.watts(wish)
        if (most := tightest.get((quantity, Bound.MAX_GENERATION))) is not None:
            watts = min(watts, self.watts(most))
        if (least := tightest.get((quantity, Bound.MAX_ABSORPTION))) is not None:
            watts = max(watts, -self.watts(least))
        if watts == wanted:
            return wish.value
        if row.unit is Unit.W:
            return watts
        return watts * 100 / _exact(self.history.set_max_w if watts >= 0 else self.history.set_max_charge_rate_w)

    def outcome(self) -> Outcome:
        """Say what the DER must do now."""
        tightest, permissions = self.tightest(), self.permissions()
        winners = self.with_other_halves(self.winners())
        binding = [*tightest.values(), *winners, *permissions.values()]
        values = {
            wish.function: Merged(
                value=self.clipped(wish) if wish in winners else wish.value,
                channel=wish.channel,
                source=wish.source,
            )
            for wish in binding
        }
        limits = {
            side: Limit(watts=self.watts(wish), channel=wish.channel, source=wish.source)
            for side, wish in tightest.items()
        }
        claims = tuple(
            Claim(
                function=wish.function,
                value=wish.value,
                channel=wish.channel,
                source=wish.source,
                binds=wish in binding or self.is_as_tight(wish, tightest),
            )
            for wish in self.wishes()
        )
        return Outcome(values=values, limits=limits, claims=claims)


def _exact(value: object) -> Fraction:
    """Take a number as it is."""
    if not isinstance(value, int | float | Decimal | Fraction):
        raise TypeError(f"{value!r} is no number: it cannot be converted to watts")
    return Fraction(value)
