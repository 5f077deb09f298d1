"""What a cage costs, from spawn to exec inside, beside other programs that make cages."""

import json
import os
import re
import subprocess

from .programs import Failed, json_output, output
from .table import Row, median, number

ROUNDS = 4
RUNS = 10  # of each, in each round
CAGE_COST = "BENCH_CAGE_COST"  # names the program that measures hob's own cage


def measure(bench):
    others = {"bare": ["/bin/true"], "bwrap": BWRAP}
    for runtime in ("crun", "runc"):
        others[runtime] = oci(bench, runtime)
    missing = [name for name, argv in others.items() if not works(argv)]
    if "bare" in missing:
        raise Failed("/bin/true does not run")
    others = {name: argv for name, argv in others.items() if name not in missing}
    runs = {name: [] for name in others}
    for _ in range(ROUNDS):
        for name, argv in others.items():
            runs[name] += json_output([bench.load, "exec", "--times", str(RUNS), "--", *argv])["exit_ms"]
    bare = median(runs.pop("bare"))
    notes = [f"{name} {number(median(samples) - bare)}" for name, samples in runs.items()]
    notes += [f"{name} does not work here" for name in missing]
    return [hob_row("others, `true` to its end over a bare one: " + ", ".join(notes) + " ms")]


def hob_row(note):
    program = os.environ.get(CAGE_COST)
    if not program:
        raise Failed(f"no program measures hob's cage; {note}")
    added = {way.strip(): float(more) for way, more in LINE.findall(output([program]))}
    if "container" not in added:
        raise Failed(f"{program} has no line on `container`")
    ways = ", ".join(f"{way} {number(more)}" for way, more in added.items() if way not in ("bare", "container", "bwrap"))
    return Row("the cage, spawn to exec inside, over a bare exec", "ms", added["container"], bar=("<=", 4),
               note=f"{ways} ms; {note}")


# "container    to exec   1.234 ms (+0.567)   to the end …"
LINE = re.compile(r"^(.+?) +to exec +[\d.]+ ms \(([+-][\d.]+)\)", re.M)
BWRAP = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
         "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev",
         "--tmpfs", "/tmp", "/bin/true"]


def oci(bench, runtime):
    """`RUNTIME run` in a cage like bwrap's: its default bundle with the host's /usr, read-only."""
    argv = [runtime, "run", "--bundle", os.path.join(bench.scratch, "oci-" + runtime), f"hob-bench-{os.getpid()}"]
    folder = argv[3]
    for name in ("usr", "proc", "dev", "sys", "tmp"):
        os.makedirs(os.path.join(folder, "rootfs", name))
    for name in ("bin", "lib", "lib64"):
        os.symlink("usr/" + name, os.path.join(folder, "rootfs", name))
    if not works([runtime, "spec", "--bundle", folder]):
        return argv
    config = os.path.join(folder, "config.json")
    with open(config) as file:
        spec = json.load(file)
    spec["root"] = {"path": "rootfs", "readonly": True}
    spec["process"].update(terminal=False, args=["/bin/true"])
    spec["mounts"].append({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]})
    with open(config, "w") as file:
        json.dump(spec, file)
    return argv


def works(argv):
    try:
        done = subprocess.run(argv, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
