"""Warm calls per second at 32 connections, closed loop, by wrk."""

import os
import re

from .programs import Failed, output
from .stage import Stage
from .table import Row, median, number

CONNECTIONS = 32
ROUNDS = 5
SECONDS = 3
WARM_UP_SECONDS = 1
PYTHON = "hob, Python hello"


def measure(bench):
    with Stage(bench) as stage:
        stage.hob.new("python", os.path.join(stage.folder, "hello"))
        stage.hob.deploy(os.path.join(stage.folder, "hello"), "hello")
        ways = dict(stage.ways, **{PYTHON: (stage.hob.port, "/function/hello")})
        for place in ways.values():
            wrk(place, WARM_UP_SECONDS)
        # Round by round, so that a slow minute of the machine hits all of them.
        rounds = [{way: wrk(place, SECONDS) for way, place in ways.items()} for _ in range(ROUNDS)]
    return rows(rounds)


def rows(rounds):
    rates = {way: [one[way] for one in rounds] for way in rounds[0]}
    proxies = [way for way in rates if way.startswith("nginx")]
    nginx = max(proxies, key=lambda way: median(rates[way]))
    table = [ratio("warm throughput, hob over nginx", rates["hob"], rates[nginx], 1.3, f"the fastest: {nginx}"),
             ratio("warm throughput, hob over a direct call", rates["hob"], rates["direct"], 0.6, "")]
    table += [ratio(f"warm throughput, hob over {way}", rates["hob"], rates[way], None, "")
              for way in proxies if way != nginx]
    return table + [Row(f"calls per second, {way}", "/s", median(samples), samples) for way, samples in rates.items()]


def ratio(what, ours, theirs, limit, note):
    """The ratio of the medians; its spread is that of the ratios round by round."""
    each = [one / other for one, other in zip(ours, theirs)]
    return Row(what, "×", median(ours) / median(theirs), each, limit and (">=", limit), note)


def wrk(place, seconds, script=None):
    port, path = place
    threads = max(1, os.cpu_count() // 2)  # the other cores are for what is measured
    url = f"http://127.0.0.1:{port}{path}"
    more = ["-s", script] if script else []
    text = output(["wrk", "-t", str(threads), "-c", str(CONNECTIONS), "-d", f"{seconds}s", *more, url])
    errors = re.search(r"^\s*(Non-2xx.*|Socket errors.*)$", text, re.M)
    if errors:
        raise Failed(f"wrk on {path}: {errors.group(1)}")
    rate = float(re.search(r"^Requests/sec:\s*([\d.]+)", text, re.M).group(1))
    print(f"  {url}: {number(rate)} calls per second", flush=True)
    return rate
