"""Starting programs and ending each one that was started."""

import json
import os
import signal
import socket
import subprocess
import time

START_LIMIT = 20  # seconds until a program must listen
STOP_LIMIT = 20  # seconds until a program must have ended after SIGTERM


class Failed(Exception):
    """Something could not run, so there is no figure."""


class Programs:
    """All programs of a run. `stop_all` ends what is left, by process id."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.running = []

    def start(self, argv, name, env=None, cwd=None):
        with open(os.path.join(self.scratch, name + ".log"), "ab") as log:
            process = subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        process.name = name
        self.running.append(process)
        return process

    def stop(self, process):
        if process in self.running:
            self.running.remove(process)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f"{process.name} did not stop within {STOP_LIMIT} s of SIGTERM")

    def stop_all(self):
        for process in reversed(list(self.running)):
            try:
                self.stop(process)
            except Failed as failure:
                print(f"make bench: {failure}")

    def log_tail(self, name, lines=5):
        with open(os.path.join(self.scratch, name + ".log"), errors="replace") as log:
            return "".join(log.readlines()[-lines:]).strip()


def wait_for(what, condition, process=None, limit=START_LIMIT):
    """Polls until `condition` is true."""
    deadline = time.monotonic() + limit
    while not condition():
        if process is not None and process.poll() is not None:
            raise Failed(f"{what}: the program ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {limit} s")
        time.sleep(0.01)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def output(argv, limit=120, **options):
    """Standard output of a program that must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Failed(f"`{' '.join(map(str, argv[:4]))}` ended with status {done.returncode}: {''.join(words)}")
    return done.stdout


def json_output(argv, **options):
    text = output(argv, **options)
    try:
        return json.loads(text)
    except ValueError:
        raise Failed(f"`{' '.join(map(str, argv[:4]))}` printed no JSON: {text[:200]!r}")
