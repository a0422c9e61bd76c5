"""The README's commands, run in their order against a demonstration of our own; what it shows must be what they say.

Blocks marked `console` are run. Numbers, times and names that differ from run to run are masked before the comparison, and `…`
stands for lines left out. Run as a script it performs the README against the whole demo at its own speed and prints what came:

    python tests/e2e/test_readme.py
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
READY_S = 90
PLACEHOLDER = re.compile(r"(?<= )[0-9A-F]{8}(?= |$)")
"""The short mRID in the README's commands; its place is taken by the one that `create` printed."""

QUIET = """
[scenario]
about = "nothing but what the reader does"
field = "oberrhein"
ends_at_min = 300
poll_rate_s = 300
read_s = 60

[[control]]
at_min = 280
starts_in_min = 5
lasts_min = 5
group = "feeder-4"
setpoints = {{ max_lim_w_pct = 90 }}
""".format()


def conversations(text: str) -> list[tuple[str, list[str]]]:
    """Find every command of the README with the output that it shows."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"(?ms)^```console\n(.*?)^```", text):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


def masked(line: str) -> str:
    """Take out what differs from run to run."""
    line = re.sub(r"\b[0-9A-Fa-f]{64}\b|\b[0-9A-Fa-f]{40}\b|\b[0-9A-F]{32}\b|\b[0-9A-F]{8}\b", "#", line)
    line = re.sub(r"\b[a-z2-7]{13}\b", "#", line)  # a DerId
    line = re.sub(r"\bpv_\d+", "pv_N", line)
    line = re.sub(r"\b\d+(?:\.\d+)?(?: [kM](?=W))?", "N", line)
    return re.sub(r"[\s─]+", " ", line).strip()


class Walk:
    """A reader at the keyboard."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.environment = {**os.environ, "TIERLINE_URL": url, "COLUMNS": "100", "NO_COLOR": "1"}
        self.mrid = ""
        self.is_cancelled = False

    def run(self, command: str) -> str:
        """Run one command of the README, once it makes sense to."""
        command = PLACEHOLDER.sub(self.mrid, command)
        words = shlex.split(command)
        assert words[0] == "tierline", f"the README runs {words[0]!r}, which this test does not know"
        if words[1:3] == ["control", "show"]:
            self.wait("cancelled" if self.is_cancelled else "started")
        if words[1:3] == ["reading", "list"]:
            self.wait_for_readings(words[3:])
        said = self.tierline(words[1:])
        if words[1:3] == ["control", "create"]:
            self.mrid = re.search(r"^control ([0-9A-F]{8})", said)[1]
        self.is_cancelled |= words[1:3] == ["control", "cancel"]
        return f"$ {command}\n{said}"

    def tierline(self, words: list[str]) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tierline", *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"tierline {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def wait(self, answer: str, seconds: float = 120) -> None:
        """Wait until every member has given an answer."""
        end = time.monotonic() + seconds
        while True:
            found = json.loads(self.tierline(["control", "show", self.mrid, "--json"]))
            if found["answers"].get(answer, 0) == found["members"]:
                return
            assert time.monotonic() < end, f"not all have {answer}: {found['answers']} of {found['members']}"
            time.sleep(0.3)

    def wait_for_readings(self, words: list[str], seconds: float = 120) -> None:
        """Wait until the limit and the release are both among the readings."""
        end = time.monotonic() + seconds
        while True:
            found = json.loads(self.tierline(["reading", "list", *words, "--json"]))["readings"]
            values = [one["value"] for one in found]
            if values and min(values) < 0.5 * max(values) < values[-1]:
                return
            assert time.monotonic() < end, f"no limit and release among {values}"
            time.sleep(0.5)


@contextmanager
def running(folder: Path, *arguments: str):
    """Run a demonstration in a folder; gives the URL of its operator API."""
    log = folder / "demo.log"
    with log.open("wb") as out:
        demo = subprocess.Popen([sys.executable, "-m", "tierline", *arguments], cwd=folder, stdout=out, stderr=out)
    try:
        end = time.monotonic() + READY_S
        while (found := re.search(rb'"(http://[^"]+)".*"event": "ready"', log.read_bytes())) is None:
            assert demo.poll() is None, f"the demo ended:\n{log.read_text()}"
            assert time.monotonic() < end, f"the demo did not come up:\n{log.read_text()}"
            time.sleep(0.1)
        yield found[1].decode()
    finally:
        demo.terminate()
        try:
            demo.wait(30)
        except subprocess.TimeoutExpired:
            demo.kill()
            demo.wait()


@pytest.fixture(scope="module")
def performed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    (folder / "quiet.toml").write_text(QUIET)
    with running(folder, "scenario", "run", "quiet.toml", "--headless", "--gateways", "20", "--speed", "60") as url:
        walk = Walk(folder, url)
        yield [(command, shown, walk.run(command)) for command, shown in conversations(README.read_text())]


def test_every_command_of_the_readme_works(performed):
    assert len(performed) >= 8
    assert {"status", "control", "explain", "audit"} <= {command.split()[1] for command, _, _ in performed}


def test_the_readme_shows_what_its_commands_say(performed):
    wrong = []
    for command, shown, said in performed:
        lines = {masked(line) for line in said.splitlines()}
        assert shown, f"the README shows no output of {command}"
        wrong += [f"{command}: {line}" for line in shown if line.strip() not in {"", "…"} and masked(line) not in lines]
    assert wrong == []


def test_every_example_of_make_gives_arguments_that_exist():
    said = subprocess.run(
        [sys.executable, "-m", "tierline", "demo", "--help"], capture_output=True, text=True, check=True,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    ).stdout  # fmt: skip
    examples = re.findall(r'make demo ARGS="([^"]+)"', README.read_text())
    assert examples
    assert [word for line in examples for word in line.split() if word.startswith("--") and word not in said] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "control 371C356F8B6DDF3CBBA0644F00007ED9 created for feeder-1: 32 DERs",
            "control # created for feeder-N: N DERs",
        ),
        ("  at most 3.814 MW less generation", "at most NW less generation"),
        ("pv_060          2nwwgu35mrmac   yes", "pv_N # yes"),
    ],
)
def test_masking_leaves_the_words(one, other):
    assert masked(one) == other


def _perform() -> None:
    """Print what the README's commands say against the whole demo, at the speed that the README names."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(folder, "demo", "--headless", "--speed", "10") as url:
            walk = Walk(folder, url)
            for command, _ in conversations(README.read_text()):
                print(walk.run(command))


if __name__ == "__main__":
    _perform()
