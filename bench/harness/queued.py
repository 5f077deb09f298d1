"""Asynchronous calls: how many a second are on the disk before their 202, while others are made."""

import os
import shutil
import time

from .hob import Hob, write_folder
from .programs import Failed, json_output, wait_for
from .table import Row, median, number
from .throughput import CONNECTIONS, WARM_UP_SECONDS, wrk

ROUNDS = 3
SECONDS = 3
BODY_BYTES = 100
SYNCS = 200
DRAIN_SECONDS = 600  # until all that were taken must have been made


def measure(bench):
    syncs = [sync(bench.scratch) for _ in range(SYNCS)]
    with Hob(bench, "queued", HOB_QUEUE_CALLS="10000000", HOB_QUEUE_BYTES="64Gi") as hob:
        hob.deploy(function(bench), "queued")
        script = os.path.join(write_folder(os.path.join(bench.scratch, "queued-script"), {"post.lua": POST}), "post.lua")
        place = (hob.port, "/async-function/queued")
        wrk(place, WARM_UP_SECONDS, script)
        taken = [wrk(place, SECONDS, script) for _ in range(ROUNDS)]
        made = drain(hob)
    note = f"{BODY_BYTES} bytes each, 4 made at a time meanwhile; one sync of this disk alone takes {number(median(syncs))} ms"
    return [Row(f"asynchronous calls taken, durable, {CONNECTIONS} connections", "/s", median(taken), taken,
                (">=", 5000), note),
            Row("asynchronous calls made, 4 at a time", "/s", made)]


POST = f"""wrk.method = "POST"
wrk.body = string.rep("x", {BODY_BYTES})
"""


def function(bench):
    """The tiny handler."""
    folder = write_folder(os.path.join(bench.scratch, "queued-function"), {"hob.toml": 'run = ["./handler"]\n'})
    shutil.copy(bench.handler, os.path.join(folder, "handler"))
    return folder


def drain(hob):
    """Calls made a second until none is left."""
    start, before = time.monotonic(), left(hob)
    wait_for("the queue to become empty", lambda: left(hob) == 0, limit=DRAIN_SECONDS)
    return before / (time.monotonic() - start)


def left(hob):
    depths = json_output([hob.program, "queue", "list", "--limit", "1", "-o", "json"], env=hob.env)["functions"]
    if any(one["dead"] or one["retried"] for one in depths):
        raise Failed("a queued call failed")
    return sum(one["waiting"] + one["running"] for one in depths)


def sync(folder):
    """Milliseconds that the disk takes for a page."""
    path = os.path.join(folder, "sync")
    with open(path, "ab") as file:
        file.write(b"x" * 4096)
        file.flush()
        start = time.perf_counter()
        os.fsync(file.fileno())
        return (time.perf_counter() - start) * 1000
