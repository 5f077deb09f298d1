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
        "versions": versions,
    }


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
