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
    ways, missing = others(bench)
    runs = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            runs[name] += way.exec(bench, RUNS)["exit_ms"]
    bare = median(runs.pop("bare"))
    notes = [f"{name} {number(median(samples) - bare)}" for name, samples in runs.items()]
    notes += [f"{name} does not work here" for name in missing]
    return [hob_row("others, `true` to its end over a bare one: " + ", ".join(notes) + " ms")]


class Way:
    """A way to run `true`. `prefix` is the argv of a program that starts others where this one works."""

    def __init__(self, argv, prefix=()):
        self.argv, self.prefix = argv, list(prefix)

    def exec(self, bench, times, callers=1):
        """Runs it to its end again and again."""
        return json_output([*self.prefix, bench.load, "exec", "--times", str(times), "--callers", str(callers), "--",
                            *self.argv])

    def works(self):
        return works([*self.prefix, *(word.replace("{}", "first") for word in self.argv)])


def others(bench):
    """Those that work here, by name, and the names of those that do not."""
    ways = {"bare": Way(["/bin/true"]), "bwrap": Way(BWRAP)}
    for runtime in ("crun", "runc"):
        ways[runtime] = Way(oci(bench, runtime))
    if not ways["crun"].works():
        # Some releases refuse a machine with both versions of control groups, unless they see one only.
        ways["crun"].prefix = HIDE_V2
    missing = [name for name, way in ways.items() if not way.works()]
    if "bare" in missing:
        raise Failed("/bin/true does not run")
    return {name: way for name, way in ways.items() if name not in missing}, missing


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


HIDE_V2 = ["unshare", "--mount", "sh", "-c", 'umount /sys/fs/cgroup/unified && exec "$@"', "sh"]


def oci(bench, runtime):
    """`RUNTIME run` in a cage like bwrap's: its default bundle with the host's /usr, read-only."""
    folder = os.path.join(bench.scratch, "oci-" + runtime)
    argv = [runtime, "run", "--bundle", folder, f"hob-bench-{os.getpid()}-{{}}"]
    if os.path.exists(folder):
        return argv
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
