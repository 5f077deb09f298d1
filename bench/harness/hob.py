"""One hob server with a data directory of its own, used as a person would: by its command line."""

import http.client
import os
import shutil
import subprocess
import time

from .programs import Failed, free_port, json_output, listens, output, wait_for


class Hob:
    def __init__(self, bench, name, config="", **env):
        """`config` is the text of its config.toml: the machine's own must not count."""
        self.programs = bench.programs
        self.program = bench.hob
        self.name = name
        self.data = os.path.join(bench.scratch, name)
        self.process = None
        self.port = free_port()
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("HOB_")}
        file = os.path.join(bench.scratch, name + ".toml")
        with open(file, "w") as settings:
            settings.write(config)
        self.env.update(HOB_CONFIG=file, HOB_DATA=self.data, HOB_LISTEN=f"127.0.0.1:{self.port}",
                        HOB_METRICS="127.0.0.1:0", **env)

    def start(self):
        self.process = self.programs.start([self.program, "up"], self.name, env=self.env)
        try:
            wait_for("hob up", self.answers, self.process)
        except Failed as failure:
            raise Failed(f"{failure}: {self.programs.log_tail(self.name)}")
        return self

    def answers(self):
        """Whether both the command line and calls reach it."""
        done = subprocess.run([self.program, "status"], env=self.env, capture_output=True, stdin=subprocess.DEVNULL)
        return done.returncode == 0 and listens(self.port)

    def stop(self):
        if self.process is not None:
            self.programs.stop(self.process)
            self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def cli(self, *args, cwd=None):
        return output([self.program, *args], env=self.env, cwd=cwd)

    def new(self, language, folder):
        """Writes what a newcomer starts with."""
        where, name = os.path.split(folder)
        self.cli("new", language, name, cwd=where)

    def deploy(self, folder, name):
        self.cli("deploy", folder, "--name", name)

    def call(self, name, expected=b""):
        """Calls once on a connection of its own; returns seconds until the answer's first byte."""
        start = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", f"/function/{name}")
            answer = connection.getresponse()
            first = time.perf_counter() - start
            body = answer.read()
        except OSError as error:
            raise Failed(f"a call of {name} broke: {error}")
        finally:
            connection.close()
        if answer.status != 200 or expected not in body:
            raise Failed(f"a call of {name} was answered {answer.status} {body[:120]!r}")
        return first

    def describe(self, name):
        return json_output([self.program, "describe", name, "-o", "json"], env=self.env)

    def resident(self):
        """Resident memory of the server, in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise Failed("the server's memory cannot be read")


def write_folder(folder, files):
    """A function's folder."""
    os.makedirs(folder, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    return folder
