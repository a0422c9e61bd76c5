"""A jurisdiction's defaults as one set: chosen by name and category, and what of it may be put into a device.

The rule: nothing that was not verified goes into a device unless an operator confirmed it by function.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from types import MappingProxyType

from tierline.model.control import Curve, Droop, PowerFactor, Setpoints, Value
from tierline.model.defaults import (
    DEFAULTS,
    POINT_PARAMETERS,
    Category,
    Default,
    Profile,
    default_for,
    parameters_for,
    writable_unasked,
)
from tierline.model.errors import ConfigError
from tierline.model.functions import FUNCTIONS, Kind, Unit

NAMES: Mapping[str, Profile] = MappingProxyType(
    {"ieee1547": Profile.IEEE1547_2018, "ieee1547-2018": Profile.IEEE1547_2018, "rule21": Profile.RULE21}
)
"""What a profile may be called in a configuration or on a command line."""

_NORMAL = frozenset({Category.A, Category.B})
_ABNORMAL = frozenset({Category.I, Category.II, Category.III})
_BY_ABNORMAL = frozenset(row.function for row in DEFAULTS if row.categories <= _ABNORMAL)
_ALWAYS_IN_FORCE = ("_must_trip", "_may_trip", "_momentary_cessation")


def profile_named(name: str) -> Profile:
    """Find a profile.

    Raises: ConfigError for a name that is none.
    """
    if name not in NAMES:
        raise ConfigError(f"there is no profile {name!r}; there are {', '.join(NAMES)}")
    return NAMES[name]


def category_of(function: str, normal: Category, abnormal: Category) -> Category:
    """Choose the category that a function's defaults go by.

    Raises: ConfigError when the two categories given are not one of each kind.
    """
    if normal not in _NORMAL or abnormal not in _ABNORMAL:
        raise ConfigError(f"categories {normal} and {abnormal}: the first must be A or B, the second I, II or III")
    return abnormal if function in _BY_ABNORMAL else normal


def default_set(
    profile: Profile, *, normal: Category = Category.B, abnormal: Category = Category.III
) -> Mapping[str, Default]:
    """Give every function of a profile that has a default value, by function."""
    found = {
        function: default_for(function, category_of(function, normal, abnormal), profile=profile)
        for function in FUNCTIONS
    }
    return MappingProxyType({function: default for function, default in found.items() if default is not None})


def is_on(default: Default) -> bool:
    """Say whether a function is in force by default: it is said to be on, or is a setting or a protection, which always are."""
    row = FUNCTIONS[default.function]
    if default.enabled is not None:
        return default.enabled
    return row.kind is Kind.SETTING or default.function.endswith(_ALWAYS_IN_FORCE)


def to_apply(defaults: Mapping[str, Default], confirmed: AbstractSet[str] = frozenset()) -> Mapping[str, Default]:
    """Choose what may be put into a device: in force by default, and verified or confirmed by an operator."""
    return MappingProxyType(
        {
            function: default
            for function, default in defaults.items()
            if is_on(default) and (writable_unasked(default) or function in confirmed)
        }
    )


def defaults_to_keep(
    name: str, normal: str, abnormal: str, confirmed: AbstractSet[str] = frozenset()
) -> Mapping[str, Default]:
    """Give what a device keeps of a profile, all chosen by name.

    Raises: ConfigError for an unknown profile or category.
    """
    return to_apply(set_named(name, normal, abnormal), confirmed)


def confirmable(name: str, normal: str, abnormal: str) -> frozenset[str]:
    """Name the functions of a profile that are in force by default and wait for an operator's confirmation.

    Raises: ConfigError for an unknown profile or category.
    """
    defaults = set_named(name, normal, abnormal)
    return frozenset(
        function for function, default in defaults.items() if is_on(default) and not writable_unasked(default)
    )


def set_named(name: str, normal: str = Category.B, abnormal: str = Category.III) -> Mapping[str, Default]:
    """Give the set of a profile, all chosen by name.

    Raises: ConfigError for an unknown profile or category.
    """
    known = {category.value: category for category in Category}
    if unknown := sorted({normal, abnormal} - known.keys()):
        raise ConfigError(f"there is no category {unknown[0]!r}; there are {', '.join(known)}")
    return default_set(profile_named(name), normal=known[normal], abnormal=known[abnormal])


def outside_ranges(
    setpoints: Setpoints, profile: Profile, *, normal: Category = Category.B, abnormal: Category = Category.III
) -> list[str]:
    """Say what of some values lies outside the adjustable ranges of a profile; empty when all lie inside.

    Points are compared where a curve has as many as the profile's own; their reactive power is not, for the ranges are in
    percent of the apparent power rating and the value is not.
    """
    return [
        fault
        for function, value in setpoints.items()
        for fault in _outside(function, value, profile, category_of(function, normal, abnormal))
    ]


def _outside(function: str, value: Value, profile: Profile, category: Category) -> Iterator[str]:
    rows = parameters_for(function, category, profile=profile)
    for parameter, number in _numbers(function, value, profile):
        row = rows.get(parameter)
        if row is None or row.unit is Unit.PCT_VA:
            continue
        name = f"{function} {parameter}".strip()
        doubt = "" if row.verified else " (not verified)"
        if row.low is not None and number < row.low and number != row.value:
            yield f"{name} is {number} {row.unit.value}; {profile} allows {row.low} or more{doubt}"
        if row.high is not None and number > row.high and number != row.value:
            yield f"{name} is {number} {row.unit.value}; {profile} allows {row.high} or less{doubt}"


def _numbers(function: str, value: Value, profile: Profile) -> Iterator[tuple[str, Decimal]]:
    """Take a value apart into the parameters its ranges are given for."""
    match value:
        case Decimal():
            yield "", value
        case PowerFactor(displacement=displacement):
            yield "displacement", displacement
        case Droop():
            for name in Droop.__dataclass_fields__:
                yield name, getattr(value, name)  # the rows are named as the fields
        case Curve():
            names = POINT_PARAMETERS.get((profile, function), ())
            if len(names) == len(value.points):
                for (x, y), point in zip(names, value.points, strict=True):
                    yield from ((x, point.x), (y, point.y))
            if value.open_loop_s is not None:
                yield "open_loop_s", value.open_loop_s
            if value.v_ref_pct is not None:
                yield "v_ref_pct", value.v_ref_pct
        case _:  # no range is given for a switch or a constant var
            return
