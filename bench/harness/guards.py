"""What it costs to let only known callers in, to count them and to log them: warm calls per second
with all of that over calls per second with nothing of it, of the same function of two servers."""

import os
import shutil
import subprocess

from .hob import Hob, write_folder
from .programs import Failed
from .table import Row, median
from .throughput import CONNECTIONS, ROUNDS, SECONDS, WARM_UP_SECONDS, ratio, wrk

NAME = "guarded"
PATH = f"/function/{NAME}"
# Wider than any load, so that every call is counted and none is refused.
GUARDS = """
auth = "token"
rate = {limit = "1000000/1s", by = "caller"}
"""
LOG = """
[access_log]
path = "{path}"
"""


def measure(bench):
    folder = os.path.join(bench.scratch, "guards")
    guarded, plain = Hob(bench, "guards-on"), Hob(bench, "guards-off")
    log = os.path.join(write_folder(folder, {}), "access.log")
    write_folder(folder, {"config.toml": LOG.format(path=log)})
    guarded.env["HOB_CONFIG"] = os.path.join(folder, "config.toml")
    with plain, guarded:
        plain.deploy(function(bench, "plain", ""), NAME)
        guarded.deploy(function(bench, "guarded", GUARDS), NAME)
        token = make_token(guarded)
        script = os.path.join(write_folder(folder, {"token.lua": fields(token)}), "token.lua")
        # Both send the same bytes: what is compared is what hob does with them.
        ways = {"guarded": (guarded.port, PATH), "plain": (plain.port, PATH)}
        for place in ways.values():
            wrk(place, WARM_UP_SECONDS, script)
        rounds = [{way: wrk(place, SECONDS, script) for way, place in ways.items()} for _ in range(2 * ROUNDS)]
        if not os.path.getsize(log):
            raise Failed("the access log is empty")
    with_guards, without = ([one[way] for one in rounds] for way in ("guarded", "plain"))
    note = f"{CONNECTIONS} connections" if token else f"{CONNECTIONS} connections; NO auth: this hob makes no tokens"
    return [ratio("warm throughput, with auth, rate limit and access log over without", with_guards, without, 0.9, note),
            Row("calls per second, hob with all guards", "/s", median(with_guards), with_guards),
            Row("calls per second, the same hob with none", "/s", median(without), without)]


def function(bench, name, guards):
    """The tiny handler. It may use every core."""
    text = f'run = ["./handler"]\n{guards}\n[limits]\ncpu = {os.cpu_count()}\n'
    folder = write_folder(os.path.join(bench.scratch, "guards", name), {"hob.toml": text})
    shutil.copy(bench.handler, os.path.join(folder, "handler"))
    return folder


def make_token(hob):
    """A token that lets its bearer call; None where there are none yet."""
    help = subprocess.run([hob.program, "token", "create", "--help"], env=hob.env, capture_output=True)
    if help.returncode != 0:
        return None
    return hob.cli("token", "create", "bench", "--scope", f"invoke:{NAME}").strip()


def fields(token):
    return f'wrk.headers["Authorization"] = "Bearer {token or "none"}"\n'
