"""How the events of a running node are written: one JSON object a line, or words on a terminal."""

import logging
import sys
from enum import StrEnum


class Form(StrEnum):
    """The forms."""

    JSON = "json"
    WORDS = "words"


def set_up(form: Form | None, *, verbose: bool) -> None:
    """Write events to stderr; without a form, words on a terminal and JSON elsewhere."""
    import structlog

    if form is None:
        form = Form.WORDS if sys.stderr.isatty() else Form.JSON
    last: list[structlog.types.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form is Form.JSON
        # Plain: with rich installed a stack trace would else be drawn with the values of all variables, PINs and tokens among them.
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def hush() -> None:
    """Write errors only, for a program that draws on the terminal."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
