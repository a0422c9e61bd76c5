"""Keep a link running: what fails is logged and tried again after a pause that grows; our own bugs are logged whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from tierline.model.errors import Forbidden, LinkError, PeerError, TierlineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tierline.ports import Clock, Random

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 5.0
LAST_PAUSE_S = 300.0
"""Civil seconds."""


async def supervise(
    name: str,
    work: Callable[[], Awaitable[None]],
    clock: Clock,
    random: Random,
    *,
    last_pause_s: float = LAST_PAUSE_S,
    **context: object,
) -> None:
    """Run `work` for ever: again at once after it returns, after a jittered pause when it fails.

    The pause doubles up to `last_pause_s` and begins anew after success, or a failure that was long in coming.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        started = clock.now()
        try:
            await work()
            pause_s = FIRST_PAUSE_S
            await clock.sleep(0)  # work that never waits must not keep the others from running
            continue
        except (LinkError, PeerError, Forbidden) as error:
            log.warning("link_failed", task=name, why=str(error), again_in_s=round(pause_s), **context)
        except TierlineError:
            log.exception("task_refused", task=name, **context)
        except Exception:
            # The one place where an unknown error is caught: a bug of ours must not stop the other links.
            log.exception("task_failed", task=name, **context)
        if (clock.now() - started).total_seconds() > 2 * last_pause_s:
            pause_s = FIRST_PAUSE_S
        await clock.sleep(pause_s * (0.5 + random.fraction()))
        pause_s = min(2 * pause_s, last_pause_s)
