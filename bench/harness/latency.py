"""Latency at 2,000 calls a second, open loop: calls go out on time however slow the answers are."""

from .programs import Failed, json_output
from .stage import Stage
from .table import Row, median, number

RATE = 2000  # calls per second
CONNECTIONS = 32
ROUNDS = 5
SECONDS = 3
BARS = {"p50": 60, "p99": 1000}  # µs over direct


def measure(bench):
    with Stage(bench) as stage:
        rounds = [{way: rate(bench, place) for way, place in stage.ways.items()} for _ in range(ROUNDS)]
    table = []
    for percentile, limit in BARS.items():
        latency = {way: [one[way][percentile] for one in rounds] for way in stage.ways}
        added = {way: median(samples) - median(latency["direct"]) for way, samples in latency.items()}
        each = [one - other for one, other in zip(latency["hob"], latency["direct"])]
        note = ", ".join(f"{way} adds {number(added[way])}" for way in stage.ways if way.startswith("nginx"))
        note += f"; direct takes {number(median(latency['direct']))}"
        what = f"added latency at {RATE:,}/s, {percentile}"
        table.append(Row(what, "µs", added["hob"], each, ("<=", limit), note))
    return table


def rate(bench, place):
    port, path = place
    report = json_output([bench.load, "rate", f"127.0.0.1:{port}", "--path", path, "--rate", str(RATE),
                          "--connections", str(CONNECTIONS), "--seconds", str(SECONDS)])
    if report["errors"]:
        raise Failed(f"{report['errors']} calls of {path} failed at {RATE}/s")
    print(f"  port {port}: p50 {report['p50']} µs, p99 {report['p99']} µs, max {report['max']} µs", flush=True)
    return report
