"""Where and with what the run was made."""

import os
import platform
import re
import shutil
import subprocess
import time

VERSIONS = {
    "nginx": ["nginx", "-v"],
    "wrk": ["wrk", "-v"],
    "go": ["go", "version"],
    "python3": ["python3", "--version"],
    "rustc": ["rustc", "--version"],
    "bwrap": ["bwrap", "--version"],
    "crun": ["crun", "--version"],
    "runc": ["runc", "--version"],
}

BUSY = 0.1  # of the processors: what others take from one side of a ratio and not the other is its error
SAMPLE_SECONDS = 2


def describe(hob):
    versions = {"hob": version([hob, "--version"])}
    versions.update({name: version(argv) for name, argv in VERSIONS.items() if shutil.which(name)})
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit(),
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "load average before": "%.2f %.2f %.2f" % os.getloadavg(),
        "used by others before": others(),
        "versions": versions,
    }


def others():
    """The share of the processors that is taken before anything of the bench runs."""
    def ticks():
        with open("/proc/stat") as file:
            user, nice, system, idle, wait, *rest = map(int, file.readline().split()[1:])
        return idle + wait, user + nice + system + idle + wait + sum(rest[:3])

    idle, all_of_it = ticks()
    time.sleep(SAMPLE_SECONDS)
    idle, all_of_it = (after - before for after, before in zip(ticks(), (idle, all_of_it)))
    taken = 1 - idle / max(1, all_of_it)
    return f"{taken:.0%}" + (" – TOO BUSY, these figures prove nothing" if taken > BUSY else "")


def processor():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.M)
    return found.group(1) if found else platform.machine()


def commit():
    """The short commit, with a mark when the tree holds what is in no commit."""
    def git(*args):
        return subprocess.run(["git", *args], capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("-changed" if changed else "")


def version(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    except OSError:
        return "?"
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found.group(0) if found else "?"
