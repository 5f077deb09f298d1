"""The first call of a stopped Python function, beside the same program started by hand; and of a
frozen one, beside a warm call."""

import os
import shutil

from .hob import Hob
from .programs import Failed, json_output, wait_for
from .table import Row, median, number

ROUNDS = 5
STARTS = 4  # of each, in each round
NAME = "hello"
FREEZES = 10  # each takes one to two seconds of silence


def measure(bench):
    return from_stopped(bench) + from_frozen(bench)


def from_frozen(bench):
    with Hob(bench, "wake-frozen") as hob:
        folder = os.path.join(bench.scratch, "frozen")
        hob.new("python", folder)
        with open(os.path.join(folder, "hob.toml"), "a") as manifest:
            manifest.write('\nfreeze = "1s"\n')
        hob.deploy(folder, NAME)
        hob.call(NAME, b"Hello")
        pid = hob.describe(NAME)["instances"][0]["pid"]
        wakes, warm = [], []
        for _ in range(FREEZES):
            wait_for("the freeze of a quiet function", lambda: hob.describe(NAME)["state"] == "frozen")
            wakes.append(hob.call(NAME, b"Hello") * 1000)
            warm.append(hob.call(NAME, b"Hello") * 1000)
        if hob.describe(NAME)["instances"][0]["pid"] != pid:
            raise Failed("the function was not frozen but stopped")
    each = [wake - median(warm) for wake in wakes]
    note = f"wake {number(median(wakes))} ms, warm call {number(median(warm))} ms"
    return [Row("wake from frozen, over a warm call", "ms", median(wakes) - median(warm), each, ("<=", 2), note)]


def from_stopped(bench):
    with Hob(bench, "wake") as hob:
        folder = os.path.join(bench.scratch, NAME)
        hob.new("python", folder)
        hob.deploy(folder, NAME)
        hob.call(NAME, b"Hello")
        bare = Bare(bench, hob)
        wakes, starts, warm = [], [], []
        for _ in range(ROUNDS):
            for _ in range(STARTS):
                hob.cli("scale", NAME, "0")
                wakes.append(hob.call(NAME, b"Hello") * 1000)
                warm.append(hob.call(NAME, b"Hello") * 1000)
            starts += bare.start()
    each = [wake - median(starts) for wake in wakes]
    note = f"wake {number(median(wakes))} ms, bare python3 {number(median(starts))} ms, warm call {number(median(warm))} ms"
    return [Row("wake from stopped, over bare python3", "ms", median(wakes) - median(starts), each, ("<=", 10), note)]


class Bare:
    """The replica's own command in a copy of its bundle, read from the running process."""

    def __init__(self, bench, hob):
        self.bench = bench
        detail = hob.describe(NAME)
        pid = innermost(detail["instances"][0]["pid"])
        self.argv = [part.decode() for part in read(pid, "cmdline").split(b"\0")[:-1]]
        environment = read(pid, "environ").decode().split("\0")
        self.env = dict(entry.split("=", 1) for entry in environment if "=" in entry)
        self.folder = os.path.join(bench.scratch, "wake-bare")
        # A copy, with its file times, since bundles are not to be written to.
        shutil.copytree(os.path.join(hob.data, "bundles", detail["revision"]), self.folder)
        self.socket = os.path.join(bench.scratch, "wake-bare.sock")
        self.env.update(HOB_SOCKET=self.socket, PYTHONDONTWRITEBYTECODE="1")

    def start(self):
        argv = [self.bench.load, "start", "unix:" + self.socket, "--times", str(STARTS), "--folder", self.folder]
        return json_output([*argv, "--", *self.argv], env=self.env)["first_byte_ms"]


def innermost(pid):
    """The program itself, below whatever holds its cage."""
    while True:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = file.read().split()
        if not children:
            return pid
        pid = int(children[0])


def read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError as error:
        raise Failed(f"the replica's {name} cannot be read: {error}")
