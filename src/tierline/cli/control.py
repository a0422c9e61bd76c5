"""`tierline control`: tell a group what to do, for a time."""

from typing import TYPE_CHECKING, Annotated

import typer

from tierline.cli import reading_args, wording
from tierline.cli.commands import Session, operator_command

if TYPE_CHECKING:
    from tierline.client import ControlRequest, answers

app = typer.Typer(name="control", help="Controls: tell a group what to do, for a time.", no_args_is_help=True)

GroupOption = Annotated[str | None, typer.Option("--group", help="The group: its name, id or part of the grid.")]
FeederOption = Annotated[str | None, typer.Option("--feeder", help="The same, for a feeder.")]
SetOption = Annotated[
    list[str], typer.Option("--set", help="function=value; may stand several times. JSON or @file for curves.")
]
ForOption = Annotated[str, typer.Option("--for", help="How long: 90s, 15m, 1h30m.")]
InOption = Annotated[str | None, typer.Option("--in", help="From when on, counted from now: 6m. Now when absent.")]
AtOption = Annotated[str | None, typer.Option("--at", help="From when on: 2026-06-18T12:00:00Z.")]
RandomStartOption = Annotated[str, typer.Option("--randomize-start", help="Spread the starts over this time.")]
RandomEndOption = Annotated[str, typer.Option("--randomize-duration", help="Spread the durations over this time.")]
RampOption = Annotated[str | None, typer.Option("--ramp", help="How long the change may take.")]
MridArgument = Annotated[str, typer.Argument(help="mRID, or its first 6 digits or more.")]


@operator_command(app, "create")
def create_control(
    session: Session,
    given: SetOption,
    duration: ForOption,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit.")],
    group: GroupOption = None,
    feeder: FeederOption = None,
    start_in: InOption = None,
    start_at: AtOption = None,
    randomize_start: RandomStartOption = "0",
    randomize_duration: RandomEndOption = "0",
    ramp: RampOption = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would do.")] = False,
) -> None:
    """Create a control; the members of the group see it when they next call."""
    request = _request(
        group, feeder, given, duration, start_in, start_at, randomize_start, randomize_duration, ramp, reason
    )
    if dry_run:
        _show_preview(session, request)
        return
    found = session.client.create_control(request)

    def words() -> None:
        control = found["control"]
        typer.echo(f"control {control['mrid']} created for {control['group']}: {len(found['members'])} DERs")
        _say_control(control)
        if not found["members"]:
            typer.echo("  nobody belongs to the group now; who joins it before the end gets the control")
        typer.echo(f"\nwatch it:   tierline control show {control['mrid'][:8]}")
        typer.echo(f"cancel it:  tierline control cancel {control['mrid'][:8]} --reason …")

    session.show(found, words)


@operator_command(app, "preview")
def preview_control(
    session: Session,
    given: SetOption,
    duration: ForOption,
    group: GroupOption = None,
    feeder: FeederOption = None,
    start_in: InOption = None,
    start_at: AtOption = None,
    randomize_start: RandomStartOption = "0",
    randomize_duration: RandomEndOption = "0",
    ramp: RampOption = None,
) -> None:
    """Show what a control would do: who gets it, who not and why, how much it brings, what it meets."""
    request = _request(
        group, feeder, given, duration, start_in, start_at, randomize_start, randomize_duration, ramp, ""
    )
    _show_preview(session, request)


@operator_command(app, "list")
def list_controls(
    session: Session,
    group: GroupOption = None,
    state: Annotated[
        str | None, typer.Option(help="Only those: scheduled, active, cancelled, superseded, ended.")
    ] = None,
) -> None:
    """List controls, the newest first."""
    found = session.client.controls(group, state)
    rows = [
        (
            one["mrid"],
            one["group"],
            one["state"],
            wording.setpoints(dict(one["setpoints"])),
            wording.time(one["start"]),
            wording.duration(one["duration_s"]),
            one["members"],
            _counts(one["answers"]),
        )
        for one in found["controls"]
    ]
    columns = ("mRID", "group", "state", "sets", "start", "for", "members #", "answers")
    session.show(found, lambda: wording.table(columns, rows, none="there are no controls"))


@operator_command(app, "show")
def show_control(session: Session, mrid: MridArgument) -> None:
    """Show a control and how far every DER has come with it."""
    found = session.client.control(mrid)

    def words() -> None:
        typer.echo(f"control {found['mrid']} for {found['group']} (primacy {found['primacy']}): {found['state']}")
        _say_control(found)
        for act in found["acts"]:
            because = f": {act['reason']}" if act["reason"] else ""
            typer.echo(f"  {act['verb']} by {act['principal']} at {wording.time(act['time'])}{because}")
        silent = sum(not one["answers"] for one in found["devices"] if one["is_member"])
        typer.echo(f"  {found['members']} members: {_counts(found['answers']) or 'no answers'}, {silent} silent\n")
        rows = [
            (
                one["service_point"] or "-",
                one["der_id"],
                one["is_member"],
                one["answers"] or None,
                wording.time(one["answered_at"]),
            )
            for one in found["devices"]
        ]
        columns = ("service point", "DerId", "member", "answered", "last answer")
        wording.table(columns, rows, none="the group has no members")

    session.show(found, words)


@operator_command(app, "cancel")
def cancel_control(
    session: Session,
    mrid: MridArgument,
    reason: Annotated[str, typer.Option(help="Why, for the audit.")] = "",
    *,
    randomized: Annotated[bool, typer.Option(help="Let DERs that began stop at spread times.")] = False,
) -> None:
    """Cancel a control."""
    found = session.client.cancel_control(mrid, randomized=randomized, reason=reason)
    session.show(found, lambda: typer.echo(f"control {found['mrid']} is cancelled; DERs see it when they next call"))


def _request(
    group: str | None,
    feeder: str | None,
    given: list[str],
    duration: str,
    start_in: str | None,
    start_at: str | None,
    randomize_start: str,
    randomize_duration: str,
    ramp: str | None,
    reason: str,
) -> "ControlRequest":
    from tierline.client import ControlRequest

    if (group is None) is (feeder is None):
        raise typer.BadParameter("name one target: --group NAME or --feeder NAME")
    if start_in is not None and start_at is not None:
        raise typer.BadParameter("give --in or --at, not both")
    return ControlRequest(
        group=group or feeder or "",
        setpoints=reading_args.setpoints(given),
        duration_s=reading_args.whole_seconds(duration),
        start=None if start_at is None else reading_args.instant(start_at),
        start_in_s=None if start_in is None else reading_args.duration_s(start_in),
        randomize_start_s=reading_args.whole_seconds(randomize_start),
        randomize_duration_s=reading_args.whole_seconds(randomize_duration),
        ramp_time_s=None if ramp is None else reading_args.duration_s(ramp),
        reason=reason,
    )


def _show_preview(session: Session, request: "ControlRequest") -> None:
    found = session.client.preview_control(request)

    def words() -> None:
        typer.echo(f"for {found['group']}, {wording.time(found['start'])} to {wording.time(found['end'])}:")
        typer.echo(f"  {len(found['members'])} DERs get it, rated {wording.power(found['rated_w'])} together")
        if found["not_seen"]:
            typer.echo(f"  {len(found['not_seen'])} of them have not called yet; they get it when they call")
        if found["relief_w"] is not None:
            typer.echo(f"  at most {wording.power(found['relief_w'])} less generation, by ratings")
        for one in found["excluded"]:
            typer.echo(f"  {one['service_point'] or one['der_id']} does not get it: {one['why']}")
        for one in found["refusing"]:
            typer.echo(f"  {one['service_point'] or one['der_id']} will refuse it: {one['why']}")
        for warning in found["warnings"]:
            typer.echo(f"  {warning}")
        for other in found["overlaps"]:
            rank = "the new one ranks first" if other["new_one_wins"] else "the other one ranks first"
            typer.echo(
                f"  meets control {other['mrid'][:8]} of {other['group']} for {', '.join(other['functions'])}, "
                f"{clock_span(other['start'], other['end'])}, {other['shared_members']} DERs in both: {rank}"
            )
        if found["refused"]:
            typer.echo(f"  it would be {found['refused']}")
        typer.echo("nothing was sent")

    session.show(found, words)


def clock_span(start: str, end: str) -> str:
    """Say from when to when."""
    return f"{wording.time(start).removesuffix(' UTC')} to {wording.clock(end)} UTC"


def _say_control(control: "answers.Control") -> None:
    for name, value in control["setpoints"].items():
        typer.echo(f"  {name} = {wording.value(value)}")
    typer.echo(f"  {clock_span(control['start'], control['end'])} ({wording.duration(control['duration_s'])})")
    if control["randomize_start_s"] or control["randomize_duration_s"]:
        typer.echo(
            f"  starts spread over {control['randomize_start_s']} s, durations over {control['randomize_duration_s']} s"
        )


def _counts(answers: dict[str, int]) -> str:
    return ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in answers.items())
