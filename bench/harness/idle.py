"""What hob costs while nobody calls: memory with 100 stopped functions, and how fast it starts."""

import os
import time

from .hob import Hob, write_folder
from .programs import json_output
from .table import Row, median, number

FUNCTIONS = 100
STARTS = 10
REST_SECONDS = 2  # before memory is read, so that the last request's is given back


def measure(bench):
    with Hob(bench, "idle") as hob:
        folder = write_folder(os.path.join(bench.scratch, "idle-function"),
                              {"handler.sh": "#!/bin/sh\necho hello\n"})
        os.chmod(os.path.join(folder, "handler.sh"), 0o755)
        for index in range(FUNCTIONS):
            name = f"idle-{index}"
            hob.deploy(folder, name)
            hob.cli("scale", name, "0")
        time.sleep(REST_SECONDS)
        after_deploys = hob.resident() / 1e6
        hob.stop()
        ready = starts(bench, hob)
        hob.start()
        time.sleep(REST_SECONDS)
        after_start = hob.resident() / 1e6
    # The worse of the two must be below the bar.
    note = f"{number(after_deploys)} MB after deploying them, {number(after_start)} MB after a restart"
    memory = Row(f"idle daemon, {FUNCTIONS} stopped functions, resident", "MB", max(after_deploys, after_start),
                 bar=("<=", 25), note=note)
    return [memory, Row("start to ready to serve", "ms", median(ready), ready, ("<=", 200), f"{FUNCTIONS} functions")]


def starts(bench, hob):
    argv = [bench.load, "start", f"127.0.0.1:{hob.port}", "--path", "/healthz", "--times", str(STARTS)]
    return json_output([*argv, "--", bench.hob, "up"], env=hob.env)["first_byte_ms"]
