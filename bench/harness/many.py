"""Warm throughput with 10,000 deployed functions, beside the same with 10."""

import contextlib
import os
import shutil
import sqlite3
import time

from .hob import Hob, write_folder
from .table import Row, median
from .throughput import SECONDS, WARM_UP_SECONDS, wrk

COUNTS = (10, 10_000)
ROUNDS = 5
NAME = "called"


def measure(bench):
    with contextlib.ExitStack() as stack:
        hobs = {}
        for count in COUNTS:
            hobs[count] = hob = stack.enter_context(Hob(bench, f"many-{count}"))
            populate(bench, hob, count)
            start = time.perf_counter()
            hob.start()
            ready = time.perf_counter() - start  # polled by `hob status`, so to some 20 ms
            hob.call(NAME, b"hello")
            wrk((hob.port, f"/function/{NAME}"), WARM_UP_SECONDS)
        rounds = [{count: wrk((hob.port, f"/function/{NAME}"), SECONDS) for count, hob in hobs.items()}
                  for _ in range(ROUNDS)]
        memory = hobs[COUNTS[1]].resident() / 1e6
    few, many = ([one[count] for one in rounds] for count in COUNTS)
    note = f"started in {ready * 1000:.0f} ms and has {memory:.0f} MB resident with {COUNTS[1]:,}"
    each = [ours / theirs for ours, theirs in zip(many, few)]
    what = f"warm throughput with {COUNTS[1]:,} functions over {COUNTS[0]}"
    return [Row(what, "×", median(many) / median(few), each, (">=", 0.95), note)]


def populate(bench, hob, count):
    """Deploys two functions, then copies the second in the database, where functions are rows.

    Ten thousand real deploys would take half an hour and end in the same rows.
    """
    text = f'run = ["./handler"]\n[limits]\ncpu = {os.cpu_count()}\n'
    called = write_folder(os.path.join(bench.scratch, "many-called"), {"hob.toml": text})
    shutil.copy(bench.handler, os.path.join(called, "handler"))
    other = write_folder(os.path.join(bench.scratch, "many-other"), {"handler.py": "def handle(req):\n    return req\n"})
    hob.deploy(called, NAME)
    hob.deploy(other, "other")
    hob.cli("scale", "other", "0")
    hob.stop()
    with contextlib.closing(sqlite3.connect(os.path.join(hob.data, "hob.db"))) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(functions)")]
        values = ", ".join("'copy-' || number" if column == "name" else column for column in columns)
        database.execute(f"""
            WITH RECURSIVE numbers (number) AS (VALUES (1) UNION ALL SELECT number + 1 FROM numbers WHERE number < ?)
            INSERT INTO functions ({', '.join(columns)})
            SELECT {values} FROM functions, numbers WHERE name = 'other'""", (count - 2,))
        database.commit()
