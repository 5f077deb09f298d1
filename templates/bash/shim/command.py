"""Runs a command for each call: body on stdin, answer from stdout, stderr to the log.

Each command leads a process group of its own, which is killed when the call ends, however it
ends. Up to HELD bytes of output wait for the exit status, so that a failure can still be a 500.
"""

import os
import select
import signal
import sys
import _thread

import serve

HELD = 64 * 1024  # bytes of output kept back; an answer that is longer streams
CONTENT_TYPE = os.environ.get("content_type", "text/plain; charset=utf-8")
HERE = os.path.dirname(os.path.abspath(__file__))
if os.access(HERE + "/handler.sh", os.X_OK) or not os.path.exists(HERE + "/handler.sh"):
    NAME = "handler.sh" if os.path.exists(HERE + "/handler.sh") else "handler"
    COMMAND = [f"{HERE}/{NAME}"]
else:
    NAME = "handler.sh"
    COMMAND = ["bash", f"{HERE}/{NAME}"]


def answer(call):
    """Returns (status, headers, body) for serve.py."""
    try:
        command = Command(call)
    except OSError as error:
        print(f"{NAME} cannot be started: {error}", file=sys.stderr)
        return failed("cannot be started")
    held = b""
    for piece in command.output:
        held += piece
        if len(held) >= HELD:
            return 200, {"Content-Type": CONTENT_TYPE}, command.rest(held)
    if command.status == 0:
        return 200, {"Content-Type": CONTENT_TYPE}, held
    return failed(command.verdict())


def failed(verdict):
    name = os.environ.get("HOB_FUNCTION")
    where = f"`hob logs {name}`" if name else "its log"
    return 500, {"Content-Type": "text/plain; charset=utf-8"}, f"{NAME} {verdict}: see {where}\n".encode()


class Command:
    def __init__(self, call):
        self.call = call
        self.status = None
        stdin, feed = os.pipe()  # Python's pipes are closed in other programs, these ends too
        out, stdout = os.pipe()
        try:
            self.pid = os.posix_spawnp(
                COMMAND[0], COMMAND, environment(call), setpgroup=0,
                setsigdef=[signal.SIGPIPE, signal.SIGTERM, signal.SIGINT],
                file_actions=[(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)],
            )
        except OSError:
            os.close(feed)
            os.close(out)
            raise
        finally:
            os.close(stdin)
            os.close(stdout)
        self.output = self._output(out)
        if call.ended:
            os.close(feed)
        else:
            _thread.start_new_thread(self._feed, (feed,))

    def _feed(self, pipe):
        """Copies the body to the command's stdin, at the pace at which it reads."""
        try:
            while data := self.call.read():
                while data:
                    data = data[os.write(pipe, data):]
        except OSError:
            pass  # it does not want to read on
        except (serve.Gone, serve.Refused):
            self._kill()
        finally:
            os.close(pipe)

    def _output(self, pipe):
        """Yields what the command writes; ends it when it is done or the caller hangs up."""
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        poll.register(self.call.connection.sock, select.POLLRDHUP)
        try:
            while True:
                ready = dict(poll.poll())
                if pipe not in ready:
                    raise serve.Gone
                data = os.read(pipe, serve.BLOCK)
                if not data:
                    break
                yield data
            _, self.status = os.waitpid(self.pid, 0)
        finally:
            os.close(pipe)
            self._kill()
            if self.status is None:
                _, self.status = os.waitpid(self.pid, 0)

    def _kill(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def rest(self, held):
        yield held
        yield from self.output
        if self.status != 0:
            raise RuntimeError(f"{NAME} {self.verdict()} after a part of its answer was sent")

    def verdict(self):
        code = os.waitstatus_to_exitcode(self.status)
        return f"exited with status {code}" if code >= 0 else f"was killed by signal {-code}"


def environment(call):
    env = dict(os.environ)
    env["Http_Method"] = call.method
    env["Http_Path"] = call.path
    if call.query:
        env["Http_Query"] = call.query
    for name, value in call.headers.items():
        # Http_Proxy is where Python and others look for a proxy (https://httpoxy.org).
        if name.replace("-", "").isalnum() and name != "proxy":
            env["Http_" + name.title().replace("-", "_")] = value
    return env
