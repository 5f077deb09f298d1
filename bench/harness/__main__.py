"""Runs the parts one after the other, prints the table and keeps it."""

import argparse
import os
import signal
import sys
import time
import traceback

from . import cage, guards, idle, images, latency, machine, many, queued, redeploy, sandbox, table, throughput, wake
from .programs import Failed, Programs

PARTS = {
    "throughput": throughput.measure,
    "guards": guards.measure,
    "latency": latency.measure,
    "async": queued.measure,
    "wake": wake.measure,
    "images": images.measure,
    "redeploy": redeploy.measure,
    "cage": cage.measure,
    "sandbox": sandbox.measure,
    "idle": idle.measure,
    "many": many.measure,
}
RESULTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "results")


class Bench:
    """What every part needs: the programs under test and a folder to work in."""

    def __init__(self, args):
        self.hob, self.load, self.handler = map(os.path.abspath, (args.hob, args.load, args.handler))
        self.scratch = os.path.abspath(args.scratch)
        self.programs = Programs(self.scratch)


def main():
    parser = argparse.ArgumentParser(prog="harness")
    for name in ("hob", "load", "handler", "scratch"):
        parser.add_argument("--" + name, required=True)
    bench = Bench(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start, about = time.monotonic(), machine.describe(bench.hob)
    try:
        rows, failures = run(bench, wanted())
    finally:
        bench.programs.stop_all()
    about["load average after"] = "%.2f %.2f %.2f" % os.getloadavg()
    about["took"] = f"{time.monotonic() - start:.0f} s"
    print("\n" + table.render(rows, about, failures))
    if rows:
        print("kept in", os.path.relpath(table.keep(RESULTS, rows, about, failures)))
    return 1 if failures else 0


def wanted():
    only = os.environ.get("HOB_BENCH_ONLY")
    if only:
        unknown = set(only.split(",")) - set(PARTS)
        if unknown:
            sys.exit(f"HOB_BENCH_ONLY: no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
        return only.split(",")
    return list(PARTS)


def run(bench, parts):
    rows, failures = [], {}
    for part in parts:
        print(f"{part} …", flush=True)
        try:
            rows += PARTS[part](bench)
        except Exception as problem:  # whatever it is, the other parts are worth measuring
            failures[part] = str(problem) if isinstance(problem, Failed) else repr(problem)
            print(f"make bench: {part}: {failures[part]}", flush=True)
            if not isinstance(problem, Failed):
                traceback.print_exc()
    return rows, failures


if __name__ == "__main__":
    sys.exit(main())
