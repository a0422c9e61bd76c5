"""How a command is made: what all of them can do, and how their mistakes are told.

Every command has --json. Those that speak to a node have --url, --token-file and --ca-file too. What goes wrong is one line
on stderr and exit code 1; a mistake in the command line itself is exit code 2.
"""

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer
from typer.core import TyperGroup

from tierline.model.errors import ConfigError, TierlineError

if TYPE_CHECKING:
    from tierline.client import Client

P = ParamSpec("P")

DEFAULT_URL = "http://127.0.0.1:8080"
TOKEN_FILES = (Path("state/operator.token"), Path("state/utility/operator.token"))
"""Where the token is looked for: a node run from this folder, then the demonstration."""
URL_FILE = "operator.url"
"""Beside the token: where the node listens."""

MakeClient = Callable[[str, str, str | None], "Client"]
"""Makes a client from URL, token and authorities; tests hand in another one as the context's object."""


class Patient(TyperGroup):
    """Tells what went wrong in one line, without a traceback; errors outside the tree are bugs and do show one."""

    def invoke(self, ctx: Any) -> Any:  # Any: typer's own context, and whatever a command gives
        """Run a command."""
        try:
            return super().invoke(ctx)
        except TierlineError as error:
            _tell(error)
        except BaseExceptionGroup as group:
            known, rest = group.split(TierlineError)
            if known is None or rest is not None:
                raise
            for one in _leaves(known):
                _tell(one)
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command puts what it found."""

    as_json: bool

    def show(self, data: object, words: Callable[[], None]) -> None:
        """Print data as JSON, or in words."""
        if self.as_json:
            typer.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))
        else:
            words()


@dataclass(frozen=True, slots=True)
class Session(Output):
    """A command that speaks to a node."""

    client: "Client"


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="TIERLINE_URL",
        help="Where the operator API of the node listens.",
        show_default=f"operator.url beside the token, or {DEFAULT_URL}",
    ),
]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="TIERLINE_TOKEN_FILE",
        help="File with the access token.",
        show_default="state/operator.token, or state/utility/operator.token",
    ),
]
CaOption = Annotated[
    Path | None,
    typer.Option("--ca-file", envvar="TIERLINE_CA_FILE", help="PEM file with the authorities to trust for https."),
]


def local_command(app: typer.Typer, name: str) -> Callable[[Callable[Concatenate[Output, P], None]], object]:
    """Make a command that speaks to nobody; its first argument is the Output."""

    def decorate(function: Callable[Concatenate[Output, P], None]) -> object:
        def run(**given: Any) -> None:  # Any: what typer read for each parameter
            function(Output(given.pop("as_json")), **given)  # type: ignore[call-arg]  # typer gives them by name

        return _added(app, name, function, run, [_keyword("as_json", JsonOption, default=False)])

    return decorate


def operator_command(
    app: typer.Typer, name: str, *, takes_negative: bool = False
) -> Callable[[Callable[Concatenate[Session, P], None]], object]:
    """Make a command that speaks to a node; its first argument is the Session.

    With `takes_negative` an argument may be a negative number, which else would be taken for an option.
    """

    def decorate(function: Callable[Concatenate[Session, P], None]) -> object:
        def run(**given: Any) -> None:  # Any: what typer read for each parameter
            context = given.pop("context")
            url, token_file, ca_file = given.pop("url"), given.pop("token_file"), given.pop("ca_file")
            make: MakeClient = context.obj or _make_client
            as_json = given.pop("as_json")
            at = url or read_url(token_file)
            with make(at, read_token(token_file), None if ca_file is None else str(ca_file)) as client:
                function(Session(as_json, client), **given)  # type: ignore[call-arg]  # typer gives them by name

        added = [
            _keyword("url", UrlOption, default=None),
            _keyword("token_file", TokenOption, default=None),
            _keyword("ca_file", CaOption, default=None),
            _keyword("as_json", JsonOption, default=False),
            inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        ]
        return _added(app, name, function, run, added, takes_negative=takes_negative)

    return decorate


def read_token(path: Path | None) -> str:
    """Read an access token.

    Raises: ConfigError when there is none.
    """
    found = _token_file(path)
    if found is None:
        raise ConfigError(
            f"there is no access token in {' or '.join(map(str, TOKEN_FILES))}; "
            "name its file with --token-file or TIERLINE_TOKEN_FILE"
        )
    try:
        return found.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the access token in {found} cannot be read: {error}") from error


def read_url(token_file: Path | None) -> str:
    """Find where the node of a token listens: it wrote that down beside the token."""
    found = _token_file(token_file)
    try:
        written = "" if found is None else found.with_name(URL_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        written = ""
    return written or DEFAULT_URL


def _token_file(path: Path | None) -> Path | None:
    return path or next((candidate for candidate in TOKEN_FILES if candidate.exists()), None)


def _make_client(url: str, token: str, ca_file: str | None) -> "Client":
    try:
        from tierline.client import Client
    except ImportError as error:
        raise ConfigError("this command needs the client; install it: pip install 'tierline[client]'") from error
    return Client(url, token, ca_file=ca_file)


def _keyword(name: str, annotation: object, *, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _added(
    app: typer.Typer,
    name: str,
    function: Callable[..., None],
    run: Callable[..., None],
    added: list[inspect.Parameter],
    *,
    takes_negative: bool = False,
) -> object:
    """Add a command whose parameters are those of `function` after the first, and some more."""
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    ]
    parameters = [*own, *added]
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect documents
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name, context_settings={"ignore_unknown_options": takes_negative})(run)
    return function


def _leaves(group: BaseExceptionGroup[TierlineError]) -> list[TierlineError]:
    found: list[TierlineError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _tell(error: TierlineError) -> None:
    sys.stdout.flush()
    typer.echo(f"tierline: {error}", err=True)
