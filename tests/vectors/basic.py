"""Fixed vectors for the rows BASIC-015 to BASIC-026 of the CSIP conformance tests, worked out by hand from docs/rules.md.

Plain data, so that the oracle and the engine can both run them: load with `runpy.run_path(path)["VECTORS"]`. Each vector holds

- walks: what the DER saw, {at, programs: [{mrid, primacy, default: {mode: value}, events: [{every field of an event}]}]};
- draws: {event mRID: (r1, r2, r3)}; supported: the modes carried out; supersede_code: "7" or "14" (E18);
- applied: [(t, {mode: (value, source)})], source an event's mRID or "default:" and the program's mRID, all other modes absent;
- responses: [(at, event mRID, status)]; the order binds for one event only;
- until: the moment up to which responses are listed.
"""

LIMIT, FIXED, VOLT_VAR, RAMP = "opModMaxLimW", "opModFixedW", "opModVoltVar", "setGradW"


def mrid(digits):
    """Write an mRID at its full length."""
    return digits.zfill(32)


def event(digits, start, duration, modes, *, created=0, status=0):
    """Write an event without randomization that wants all Responses."""
    return {
        "mrid": mrid(digits),
        "creation_time": created,
        "start": start,
        "duration": duration,
        "randomize_start": 0,
        "randomize_duration": 0,
        "modes": modes,
        "status": status,
        "response_required": 3,
        "valid": True,
    }


def program(digits, primacy, events=(), default=None):
    """Write a program; without a default it has an empty one."""
    return {"mrid": mrid(digits), "primacy": primacy, "events": list(events), "default": default or {}}


def vector(walks, applied, responses, *, supersede_code="14"):
    """Write a vector: no event of the BASIC rows is randomized, so every draw is 0."""
    seen = {e["mrid"] for _, programs in walks for p in programs for e in p["events"]}
    return {
        "walks": [{"at": at, "programs": programs} for at, programs in walks],
        "draws": dict.fromkeys(sorted(seen), (0, 0, None)),
        "supported": {LIMIT, FIXED, VOLT_VAR},
        "supersede_code": supersede_code,
        "applied": applied,
        "responses": responses,
        "until": 10_000,
    }


def around(t, before, after):
    """Give the three points around a boundary: one second before it, at it and one second after it."""
    return [(t - 1, before), (t, after), (t + 1, after)]


SYSTEM, SERVICE_POINT = mrid("5E"), mrid("5A")
A, B = mrid("A1"), mrid("B2")
NOTHING = {}
DEFAULT = {LIMIT: (10_000, f"default:{SYSTEM}")}
LIMITED_BY_A = {LIMIT: (6000, A)}
LIMITED_BY_B = {LIMIT: (3000, B)}
DEFAULT_LIMIT = {LIMIT: 10_000}

# --- BASIC-015: 24 controls of 60 s, one straight after the other from 1000 to 2440 -------------------------------------------------
# All are known at 0. At 1500 the one of [1900, 1960) is cancelled ahead, at 2410 the last one, of [2380, 2440), in flight.


def nth(i):
    """Write the mRID of the i-th of the 24 controls."""
    return mrid(f"C{i:02d}")


def hours(first, cancelled=()):
    """Write what the server lists from the control `first` on; those before it have ended and left the list."""
    return [
        event(f"C{i:02d}", 1000 + 60 * i, 60, {LIMIT: 100 * (i + 1)}, status=2 if i in cancelled else 0)
        for i in range(first, 24)
    ]


def limited_by(i):
    """Say what applies while the i-th control is in effect."""
    return {LIMIT: (100 * (i + 1), nth(i))}


BASIC_015 = vector(
    walks=[
        (0, [program("5E", 10, hours(0), DEFAULT_LIMIT)]),
        (1500, [program("5E", 10, hours(8, cancelled={15}), DEFAULT_LIMIT)]),
        (2410, [program("5E", 10, hours(23, cancelled={23}), DEFAULT_LIMIT)]),
    ],
    applied=[
        *around(0, NOTHING, DEFAULT),
        *around(1000, DEFAULT, limited_by(0)),
        *[point for i in range(1, 15) for point in around(1000 + 60 * i, limited_by(i - 1), limited_by(i))],
        *around(1900, limited_by(14), DEFAULT),
        *around(1960, DEFAULT, limited_by(16)),
        *[point for i in range(17, 24) for point in around(1000 + 60 * i, limited_by(i - 1), limited_by(i))],
        *around(2410, limited_by(23), DEFAULT),
        *around(2440, DEFAULT, DEFAULT),
    ],
    responses=[
        *[(0, nth(i), 1) for i in range(24)],
        *[(1000 + 60 * i, nth(i), 2) for i in range(24) if i != 15],
        *[(1060 + 60 * i, nth(i), 3) for i in range(23) if i != 15],
        (1500, nth(15), 6),
        (2410, nth(23), 6),
    ],
)

# --- BASIC-016 to BASIC-020 ---------------------------------------------------------------------------------------------------------

BASIC_016 = vector(
    walks=[
        (0, [program("5E", 10, default={LIMIT: 10_000, RAMP: 50}), program("5A", 1, default={LIMIT: 4000})]),
    ],
    applied=[
        (-1, NOTHING),
        (0, {LIMIT: (4000, f"default:{SERVICE_POINT}"), RAMP: (50, f"default:{SYSTEM}")}),
        (9000, {LIMIT: (4000, f"default:{SERVICE_POINT}"), RAMP: (50, f"default:{SYSTEM}")}),
    ],
    responses=[],
)

BASIC_017 = vector(
    walks=[(0, [program("5E", 10, [event("A1", 1000, 600, {LIMIT: 6000})])])],
    applied=[(0, NOTHING), *around(1000, NOTHING, LIMITED_BY_A), *around(1600, LIMITED_BY_A, NOTHING)],
    responses=[(0, A, 1), (1000, A, 2), (1600, A, 3)],
)

BASIC_018 = vector(
    walks=[(0, [program("5E", 10, [event("A1", 1000, 600, {LIMIT: 6000})], DEFAULT_LIMIT)])],
    applied=[(0, DEFAULT), *around(1000, DEFAULT, LIMITED_BY_A), *around(1600, LIMITED_BY_A, DEFAULT)],
    responses=[(0, A, 1), (1000, A, 2), (1600, A, 3)],
)

BASIC_019 = vector(
    walks=[
        (
            0,
            [
                program(
                    "5E",
                    10,
                    [event("A1", 1000, 300, {LIMIT: 6000}), event("B2", 1400, 300, {LIMIT: 3000})],
                    DEFAULT_LIMIT,
                )
            ],
        )
    ],
    applied=[
        *around(1000, DEFAULT, LIMITED_BY_A),
        *around(1300, LIMITED_BY_A, DEFAULT),
        *around(1400, DEFAULT, LIMITED_BY_B),
        *around(1700, LIMITED_BY_B, DEFAULT),
    ],
    responses=[(0, A, 1), (0, B, 1), (1000, A, 2), (1300, A, 3), (1400, B, 2), (1700, B, 3)],
)

BASIC_020 = vector(
    walks=[
        (
            0,
            [
                program("5E", 10, [event("A1", 1000, 300, {LIMIT: 6000})], DEFAULT_LIMIT),
                program("5A", 1, [event("B2", 1400, 300, {LIMIT: 3000})]),
            ],
        )
    ],
    applied=[
        *around(1000, DEFAULT, LIMITED_BY_A),
        *around(1300, LIMITED_BY_A, DEFAULT),
        *around(1400, DEFAULT, LIMITED_BY_B),
        *around(1700, LIMITED_BY_B, DEFAULT),
    ],
    responses=[(0, A, 1), (0, B, 1), (1000, A, 2), (1300, A, 3), (1400, B, 2), (1700, B, 3)],
)

# --- BASIC-021 to BASIC-023: similar controls A (system, primacy 10) and B (service point, primacy 1: ranks first) overlap ------------


def seen(a_events, b_events):
    """Write one walk of the two programs; the system has the default."""
    return [program("5E", 10, a_events, DEFAULT_LIMIT), program("5A", 1, b_events)]


# 021: A [1300, 1900) is known first, then B [1000, 1600). A would start during B: it never starts and is not resumed at 1600.
LATER_A = event("A1", 1300, 600, {LIMIT: 6000}, created=0)
EARLIER_B = event("B2", 1000, 600, {LIMIT: 3000}, created=500)
KNOWN_AHEAD = {
    "walks": [(0, seen([LATER_A], [])), (500, seen([LATER_A], [EARLIER_B]))],
    "applied": [
        *around(1000, DEFAULT, LIMITED_BY_B),
        *around(1300, LIMITED_BY_B, LIMITED_BY_B),
        *around(1600, LIMITED_BY_B, DEFAULT),
        *around(1900, DEFAULT, DEFAULT),
    ],
}
BASIC_021 = vector(
    **KNOWN_AHEAD,
    responses=[(0, A, 1), (500, B, 1), (1000, A, 7), (1000, B, 2), (1600, B, 3)],
    supersede_code="7",
)
BASIC_021_CODE_14 = vector(
    **KNOWN_AHEAD,
    responses=[(0, A, 1), (500, B, 1), (1000, A, 14), (1000, B, 2), (1600, B, 3)],
)

# 022: the other order: B [1000, 1600) is known first, then A, newer, from the same start to 1900. The program decides, not the age.
NEWER_A = event("A1", 1000, 900, {LIMIT: 6000}, created=500)
OLDER_B = event("B2", 1000, 600, {LIMIT: 3000}, created=0)
OTHER_ORDER = {
    "walks": [(0, seen([], [OLDER_B])), (500, seen([NEWER_A], [OLDER_B]))],
    "applied": [
        *around(1000, DEFAULT, LIMITED_BY_B),
        *around(1600, LIMITED_BY_B, DEFAULT),
        *around(1900, DEFAULT, DEFAULT),
    ],
}
BASIC_022 = vector(
    **OTHER_ORDER,
    responses=[(0, B, 1), (500, A, 1), (1000, A, 7), (1000, B, 2), (1600, B, 3)],
    supersede_code="7",
)
BASIC_022_CODE_14 = vector(
    **OTHER_ORDER,
    responses=[(0, B, 1), (500, A, 1), (1000, A, 14), (1000, B, 2), (1600, B, 3)],
)

# 023: A [1000, 1900) is in flight when B [1300, 1600) is seen, at 1200. A started: 7 under both switches. It is not resumed at 1600.
RUNNING_A = event("A1", 1000, 900, {LIMIT: 6000}, created=0)
LATER_B = event("B2", 1300, 300, {LIMIT: 3000}, created=1100)
IN_FLIGHT = {
    "walks": [(0, seen([RUNNING_A], [])), (1200, seen([RUNNING_A | {"status": 1}], [LATER_B]))],
    "applied": [
        *around(1000, DEFAULT, LIMITED_BY_A),
        *around(1200, LIMITED_BY_A, LIMITED_BY_A),
        *around(1300, LIMITED_BY_A, LIMITED_BY_B),
        *around(1600, LIMITED_BY_B, DEFAULT),
        *around(1900, DEFAULT, DEFAULT),
    ],
    "responses": [(0, A, 1), (1000, A, 2), (1200, B, 1), (1300, A, 7), (1300, B, 2), (1600, B, 3)],
}
BASIC_023 = vector(**IN_FLIGHT, supersede_code="7")
BASIC_023_CODE_14 = vector(**IN_FLIGHT)

# --- BASIC-024 to BASIC-026: the same times, but independent modes: A limits, B fixes; both run to their ends --------------------------

FIXED_BY_B = {FIXED: (2500, B)}

BASIC_024 = vector(
    walks=[
        (0, seen([LATER_A], [])),
        (500, seen([LATER_A], [EARLIER_B | {"modes": {FIXED: 2500}}])),
    ],
    applied=[
        *around(1000, DEFAULT, DEFAULT | FIXED_BY_B),
        *around(1300, DEFAULT | FIXED_BY_B, LIMITED_BY_A | FIXED_BY_B),
        *around(1600, LIMITED_BY_A | FIXED_BY_B, LIMITED_BY_A),
        *around(1900, LIMITED_BY_A, DEFAULT),
    ],
    responses=[(0, A, 1), (500, B, 1), (1000, B, 2), (1300, A, 2), (1600, B, 3), (1900, A, 3)],
)

BASIC_025 = vector(
    walks=[
        (0, seen([], [OLDER_B | {"modes": {FIXED: 2500}}])),
        (500, seen([NEWER_A], [OLDER_B | {"modes": {FIXED: 2500}}])),
    ],
    applied=[
        *around(1000, DEFAULT, LIMITED_BY_A | FIXED_BY_B),
        *around(1600, LIMITED_BY_A | FIXED_BY_B, LIMITED_BY_A),
        *around(1900, LIMITED_BY_A, DEFAULT),
    ],
    responses=[(0, B, 1), (500, A, 1), (1000, A, 2), (1000, B, 2), (1600, B, 3), (1900, A, 3)],
)

BASIC_026 = vector(
    walks=[
        (0, seen([RUNNING_A], [])),
        (1200, seen([RUNNING_A | {"status": 1}], [LATER_B | {"modes": {FIXED: 2500}}])),
    ],
    applied=[
        *around(1000, DEFAULT, LIMITED_BY_A),
        *around(1300, LIMITED_BY_A, LIMITED_BY_A | FIXED_BY_B),
        *around(1600, LIMITED_BY_A | FIXED_BY_B, LIMITED_BY_A),
        *around(1900, LIMITED_BY_A, DEFAULT),
    ],
    responses=[(0, A, 1), (1000, A, 2), (1200, B, 1), (1300, B, 2), (1600, B, 3), (1900, A, 3)],
)

VECTORS = {
    "basic_015_24_successive_controls_and_cancellation": BASIC_015,
    "basic_016_two_programs_two_defaults": BASIC_016,
    "basic_017_one_program_one_control": BASIC_017,
    "basic_018_one_program_one_default_one_control": BASIC_018,
    "basic_019_two_controls_not_overlapping": BASIC_019,
    "basic_020_two_programs_not_overlapping": BASIC_020,
    "basic_021_overlapping_similar_known_ahead": BASIC_021,
    "basic_021_overlapping_similar_known_ahead_code_14": BASIC_021_CODE_14,
    "basic_022_overlapping_similar_other_order": BASIC_022,
    "basic_022_overlapping_similar_other_order_code_14": BASIC_022_CODE_14,
    "basic_023_overlapping_similar_in_flight": BASIC_023,
    "basic_023_overlapping_similar_in_flight_code_14": BASIC_023_CODE_14,
    "basic_024_overlapping_independent_known_ahead": BASIC_024,
    "basic_025_overlapping_independent_other_order": BASIC_025,
    "basic_026_overlapping_independent_in_flight": BASIC_026,
}
"""All vectors by name."""
