"""One-shot runs: `true` from the pool, runs per second, and how long a run outlives its deadline.

Each beside the same without hob: `crun run`, `runc run`, bubblewrap, and no cage at all.
"""

import http.client
import json
import os
import shutil
import signal
import subprocess
import time

from . import cage
from .hob import Hob
from .programs import STOP_LIMIT, Failed, json_output, wait_for
from .table import Row, median, number

ROUNDS = 4
RUNS = 250  # of `true` by hob, in each round: p99 needs many
PAUSE = 20  # ms between two, in which the pool makes the next sandbox
OTHERS = 10  # of each other way, in each round
CROWD = 2 * (os.cpu_count() or 1)
CROWD_RUNS = 100  # of each caller
KILLS = 6
DEADLINE = 0.5  # seconds
QUIET = 0.05  # seconds before it in which nobody looks at the run
PIDS = 128
CONFIG = '[sandbox]\nenabled = true\nlimits = { time = "10s", cpu = "100s", pids = %d }\n' % PIDS

COUNT = 30  # processes that are to be killed
SPIN = f"for n in $(seq {COUNT}); do while :; do :; done & done; wait"
# Each forks the next and ends, so that nobody who kills one by one is done.
RUN_AWAY = f"run() {{ run & exit; }}; for n in $(seq {COUNT}); do run & done; while :; do sleep 1; done"
# In a session of their own, nobody's children, and taking no signal but two.
STAND_STILL = f"for n in $(seq {COUNT}); do (setsid sh -c 'sh -c \"kill -STOP \\$\\$\" & exit' &); done; kill -STOP $$"
BOMB = """import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
STRONG = '[sandbox]\nenabled = true\nlevel = "gvisor"\n'
STRONG_RUNS = 6  # of `true` at that level, in each round
STRONG_PAUSE = 1000  # ms, as its sandboxes take longer to be made
# What it is, its script and language, and processes that it has to have at once.
KILLED = [
    (f"{COUNT} processes that spin", SPIN, "bash", COUNT),
    (f"{COUNT} processes that fork and end", RUN_AWAY, "bash", COUNT // 2),
    (f"{COUNT} stopped processes, forked twice, in sessions of their own", STAND_STILL, "bash", COUNT),
    (f"a fork bomb at its limit of {PIDS} processes", BOMB, "python", PIDS),
]


def measure(bench):
    ways, missing = cage.others(bench)
    with Hob(bench, "sandbox", config=CONFIG) as hob:
        rows = true_rows(bench, hob, ways) + crowd_rows(bench, hob, ways) + kill_rows(bench, hob, ways)
    rows += strong_rows(bench)
    rows[0].note = ", ".join([f"one kept connection, {PAUSE} ms between runs"] + [f"{name} does not work here" for name in missing])
    return rows


def runs(bench, hob, times, callers=1, pause=0):
    return json_output([bench.load, "runs", f"127.0.0.1:{hob.port}", "--times", str(times), "--callers", str(callers),
                        "--pause", str(pause)])


# === `true` from the pool ===

def true_rows(bench, hob, ways):
    runs(bench, hob, 50)
    ours, hurried, theirs = [], [], {name: [] for name in ways}
    # Round by round, so that a slow minute of the machine hits all of them.
    for _ in range(ROUNDS):
        ours.append(runs(bench, hob, RUNS, pause=PAUSE)["run_ms"])
        hurried.append(median(runs(bench, hob, RUNS)["run_ms"]))
        for name, way in ways.items():
            theirs[name].append(way.exec(bench, OTHERS)["exit_ms"])
    every = [one for samples in ours for one in samples]
    p50 = median(every)
    what = "one-shot run of `true`, request to exit event"
    rows = [Row(what + ", p50", "ms", p50, [median(samples) for samples in ours], ("<=", 8)),
            Row(what + ", p99", "ms", p99(every), [p99(samples) for samples in ours], ("<=", 40)),
            Row("the same without a pause, p50", "ms", median(hurried), hurried,
                note="each may have to wait until its sandbox is made")]
    for name, samples in theirs.items():
        middle = [median(one) for one in samples]
        rows.append(Row(f"`true` to its end, {name}", "ms", median(middle), middle))
        rows.append(Row(f"one-shot run over {name}", "×", p50 / median(middle),
                        [median(our) / their for our, their in zip(ours, middle)]))
    return rows


def strong_rows(bench):
    """The same with gVisor's kernel, where that is installed."""
    if shutil.which("runsc") is None or os.geteuid() != 0:
        return []
    with Hob(bench, "sandbox-gvisor", config=STRONG) as hob:
        runs(bench, hob, 2, pause=STRONG_PAUSE)
        rounds = [runs(bench, hob, STRONG_RUNS, pause=STRONG_PAUSE)["run_ms"] for _ in range(ROUNDS)]
    every = [one for samples in rounds for one in samples]
    return [Row("one-shot run of `true` at level `gvisor`, p50", "ms", median(every), [median(one) for one in rounds],
                note=f"{STRONG_PAUSE} ms between runs")]


def p99(samples):
    return sorted(samples)[int(len(samples) * 0.99)]


# === runs per second ===

def crowd_rows(bench, hob, ways):
    runs(bench, hob, 10, CROWD)
    ours, theirs = [], {name: [] for name in ways}
    for _ in range(ROUNDS):
        ours.append(runs(bench, hob, CROWD_RUNS, CROWD)["rate"])
        for name, way in ways.items():
            theirs[name].append(way.exec(bench, OTHERS, CROWD)["rate"])
    rows = [Row("one-shot runs of `true` per second", "/s", median(ours), ours, note=f"{CROWD} callers")]
    for name, rates in theirs.items():
        rows.append(Row(f"`true` per second, {name}", "/s", median(rates), rates))
        rows.append(Row(f"runs per second, hob over {name}", "×", median(ours) / median(rates),
                        [our / their for our, their in zip(ours, rates)]))
    return rows


# === the kill ===

def kill_rows(bench, hob, ways):
    rows = []
    for what, script, language, least in KILLED:
        samples = [killed_by_hob(hob, script, language, least) for _ in range(KILLS)]
        rows.append(Row(f"kill after the deadline, {what}", "ms", max(samples), samples, ("<=", 50),
                        "the slowest counts"))
    for name, kill in (("bare", killed_bare), ("bwrap", killed_bwrap), ("crun", killed_crun)):
        if name in ways:
            samples = [kill(bench, ways[name]) for _ in range(KILLS)]
            rows.append(Row(f"kill, {COUNT} processes that spin, {name}", "ms", max(samples), samples))
    return rows


def killed_by_hob(hob, script, language, least):
    """Milliseconds from the deadline until the exit event is here and nothing of the run is alive.

    Before, it has to have had so many processes at once."""
    connection = http.client.HTTPConnection("127.0.0.1", hob.port, timeout=30)
    try:
        start = time.perf_counter()
        connection.request("POST", f"/run?end=1&lang={language}&time={DEADLINE * 1000:.0f}ms", script)
        answer = connection.getresponse()
        worker = answer.headers.get("Worker", "nobody")
        most = 0
        while most < least and time.perf_counter() - start < DEADLINE - QUIET:
            most = max(most, sum(worker in groups(pid) for pid in pids()))
        text = answer.read().decode()
        late = time.perf_counter()
    finally:
        connection.close()
    event = json.loads(text.rpartition("data: ")[2] or "{}")
    if answer.status != 200 or event.get("end") != "timeout":
        raise Failed(f"a run that has to end with timeout: {answer.status} {text[-300:]}")
    if most < least:
        raise Failed(f"a run had {most} processes at once and not {least}, so that its end shows nothing")
    while any(worker in groups(pid) for pid in pids()):
        late = time.perf_counter()
    return (late - start - DEADLINE) * 1000


def killed_bare(bench, way):
    group = subprocess.Popen([*way.prefix, "bash", "-c", SPIN], start_new_session=True, stdin=subprocess.DEVNULL)
    return killed(group, lambda: os.killpg(group.pid, signal.SIGKILL))


def killed_bwrap(bench, way):
    outer = subprocess.Popen([*way.prefix, *way.argv[:-1], "bash", "-c", SPIN], stdin=subprocess.DEVNULL)
    return killed(outer, outer.kill)


def killed_crun(bench, way):
    folder = os.path.join(bench.scratch, "oci-crun")
    config = os.path.join(folder, "config.json")
    with open(config) as file:
        text = file.read()
    spec = json.loads(text)
    spec["process"]["args"] = ["bash", "-c", SPIN]
    name = f"hob-bench-{os.getpid()}-kill"
    try:
        with open(config, "w") as file:
            json.dump(spec, file)
        outer = subprocess.Popen([*way.prefix, "crun", "run", "--bundle", folder, name], stdin=subprocess.DEVNULL)
        return killed(outer, lambda: subprocess.run([*way.prefix, "crun", "kill", name, "KILL"], check=True))
    finally:
        with open(config, "w") as file:
            file.write(text)


def killed(outer, kill):
    """Milliseconds from the kill until all below `outer` are dead."""
    below = []

    def all_there():
        below[:] = descendants(outer.pid)
        return len(below) >= COUNT

    try:
        wait_for("the processes that are to be killed", all_there, outer)
        # Each has its share of the machine, as at hob's deadline.
        time.sleep(DEADLINE)
        below[:] = descendants(outer.pid)
        start = time.perf_counter()
        kill()
        while any(is_alive(pid) for pid in below):
            pass
        return (time.perf_counter() - start) * 1000
    finally:
        for pid in below:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        try:
            outer.wait(STOP_LIMIT)  # it may have to clear up
        finally:
            outer.kill()


# === /proc ===

def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def groups(pid):
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            text = file.read()
    except OSError:
        return ""
    return text if is_alive(pid) else ""


def is_alive(pid):
    return stat(pid)[:1] not in ([], ["Z"], ["X"])


def stat(pid):
    """State, parent and more of proc(5); nothing when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2].split()
    except OSError:
        return []


def descendants(root):
    parents = {pid: int((stat(pid) + ["", "0"])[1] or 0) for pid in pids()}
    found, more = [], [root]
    while more:
        above = more.pop()
        children = [pid for pid, parent in parents.items() if parent == above]
        found += children
        more += children
    return found
