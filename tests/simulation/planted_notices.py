"""A notice that is sent elsewhere by its listener, as a program: `python planted_notices.py '{"seed": 301}'`; seed: the status.

The whole node over local sockets with TLS. The ledger of who may be told is the place that was subscribed with; whatever
reaches any other is a finding of kind "told".
"""

import asyncio
import json
import runpy
import sys
import tempfile
from pathlib import Path

import tierline
from tierline.env import RealNetwork
from tierline.protocols.sep2.transport import Response

NOTICES = runpy.run_path(str(Path(__file__).parents[1] / "e2e" / "test_notices.py"))


async def found_by(seed):
    """Answer one notice with a redirection of this status; give what reached the place it names."""
    reached = []

    class Elsewhere(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            reached.append(len(data))
            self.transport.close()

    with tempfile.TemporaryDirectory() as folder:
        bench = NOTICES["Bench"](Path(folder))
        await bench.start()
        elsewhere = await RealNetwork().serve(Elsewhere, "127.0.0.1", 0)
        where = f"https://127.0.0.1:{elsewhere.port}/x"
        subscribed = NOTICES["Scripted"](Response(status=seed, headers=(("Location", where),)))
        await bench.subscribe()
        async with bench.listener(subscribed), bench.telling():
            await bench.limit_feeder(50)
            await bench.settled()
        elsewhere.close()
        await elsewhere.wait_closed()
        await bench.close()
    found = [["told", "", 0.0, f"{size} bytes reached {where}"] for size in reached]
    return found if subscribed.heard else [["bug", "", 0.0, "nobody was told at all"]]


if __name__ == "__main__":
    found = asyncio.run(found_by(**json.loads(sys.argv[1])))
    print(json.dumps({"source": str(Path(tierline.__file__).parent), "found": found}))
