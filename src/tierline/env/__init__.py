"""The one door: real time, randomness, network, files and processes. Only `node` and what stands above it open it."""

from tierline.env.clock import RealClock
from tierline.env.files import RealFiles
from tierline.env.local import ask_local, serve_local
from tierline.env.names import look_up
from tierline.env.network import RealNetwork, RealServer
from tierline.env.process import RealProcess, RealRunning
from tierline.env.randomness import SeededRandom, SystemRandom
from tierline.env.running import run

__all__ = [
    "RealClock",
    "RealFiles",
    "RealNetwork",
    "RealProcess",
    "RealRunning",
    "RealServer",
    "SeededRandom",
    "SystemRandom",
    "ask_local",
    "look_up",
    "run",
    "serve_local",
]
