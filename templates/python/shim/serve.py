"""A small HTTP/1.1 server for one function, on $HOB_SOCKET or else on $HOST:$PORT.

It imports next to nothing, since imports are most of a cold start. One thread per connection;
a slow call never holds up another.
"""

import os
import signal
import socket
import sys
import time
import _thread

MAX_CONNECTIONS = 128  # threads; hob's default limit of processes and threads is 256
MAX_KEPT = 64  # above this many connections, each is closed after its call
MAX_HEAD = 64 * 1024  # bytes of a request's first line and headers
MAX_UNREAD = 1024 * 1024  # bytes of a body nobody read that are worth reading to keep a connection
IDLE = 120  # seconds a connection may wait for its next call
BLOCK = 64 * 1024  # bytes read at once
REASONS = {200: "OK", 201: "Created", 204: "No Content", 301: "Moved Permanently", 302: "Found",
           304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
           404: "Not Found", 413: "Content Too Large", 431: "Request Header Fields Too Large",
           500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable"}


class Refused(Exception):
    """The request is no good HTTP: (status, line)."""


class Gone(Exception):
    """The caller hung up."""


class Headers(dict):
    """Header fields by lower-case name; looked up in any case."""

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __contains__(self, name):
        return super().__contains__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


class Call:
    """One request. The body stays on the wire until somebody reads it."""

    def __init__(self, connection, method, target, headers):
        self.connection = connection
        self.method = method
        path, _, self.query = target.partition("?")
        self.path = path
        self.headers = headers
        self.chunked = "transfer-encoding" in headers
        self.left = 0 if self.chunked else content_length(headers)  # bytes; of this chunk
        self.ended = not self.chunked and self.left == 0
        self.expects = headers.get("expect", "").lower() == "100-continue" and not self.ended
        self.old = False  # HTTP/1.0 knows no chunks
        self._body = None
        self._reading = _thread.allocate_lock()

    @property
    def body(self):
        """The whole body, as bytes."""
        if self._body is None:
            self._body = b"".join(iter(self.read, b""))
        return self._body

    def read(self, most=BLOCK):
        """The next bytes of the body, b"" at its end. One thread at a time: two that are here at
        once would take the beginning of the next request for the end of this one."""
        with self._reading:
            return self._read(most)

    def _read(self, most):
        if self.ended:
            return b""
        if self.expects:
            self.expects = False
            self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.chunked and self.left == 0 and not self._next_chunk():
            return b""
        data = self.connection.read(min(most, self.left))
        self.left -= len(data)
        if self.chunked and self.left == 0 and self.connection.line(2) != b"":
            raise Refused(400, "bad chunk")
        self.ended = not self.chunked and self.left == 0
        return data

    def _next_chunk(self):
        size = self.connection.line(256).partition(b";")[0].strip()
        if not size or size.strip(b"0123456789abcdefABCDEF"):
            raise Refused(400, "bad chunk size")
        self.left = int(size, 16)
        if self.left == 0:
            while self.connection.line(MAX_HEAD):
                pass  # trailers say nothing to a function
            self.ended = True
        return not self.ended


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def fill(self):
        data = self.sock.recv(BLOCK)
        if not data:
            raise Gone
        self.buffer += data

    def read(self, most):
        if not self.buffer:
            self.fill()
        data, self.buffer = self.buffer[:most], self.buffer[most:]
        return data

    def line(self, most):
        while b"\n" not in self.buffer:
            if len(self.buffer) > most:
                raise Refused(400, "line too long")
            self.fill()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line[:-1] if line.endswith(b"\r") else line

    def head(self):
        """The next request's first line and headers; None when the caller is done."""
        while True:
            self.buffer = self.buffer.lstrip(b"\r\n")  # some clients end a body with a line break
            end = self.buffer.find(b"\r\n\r\n")
            if (len(self.buffer) if end < 0 else end) > MAX_HEAD:
                raise Refused(431, "request headers are too long")
            if end >= 0:
                break
            data = self.sock.recv(BLOCK)
            if not data:
                return None
            self.buffer += data
        head, self.buffer = self.buffer[:end], self.buffer[end + 4:]
        return head.decode("latin-1").split("\r\n")

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone from None


def parse(connection, lines):
    """Reads a request's head as strictly as a proxy would, so that both see the same request."""
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[0].isalpha() or not parts[1].isprintable() or not parts[1]:
        raise Refused(400, "bad request line")
    if parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(400, "unknown version of HTTP")
    headers = Headers()
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or " " in name or not name.isprintable() or any(c in value for c in "\r\n\0"):
            raise Refused(400, "bad header")
        value = value.strip(" \t")
        if name in headers:
            if name in ("content-length", "transfer-encoding", "host"):
                raise Refused(400, f"two {name} headers")
            value = headers[name] + ("; " if name == "cookie" else ", ") + value
        headers.update({name: value})
    if "transfer-encoding" in headers:
        if "content-length" in headers:
            raise Refused(400, "both content-length and transfer-encoding")
        if headers["transfer-encoding"].lower() != "chunked":
            raise Refused(501, "unknown transfer-encoding")
    call = Call(connection, parts[0], parts[1], headers)
    call.old = parts[2] == "HTTP/1.0"
    keep = not call.old and headers.get("connection", "").lower() != "close"
    return call, keep


def content_length(headers):
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise Refused(400, "bad content-length")
    return int(text)


def respond(connection, call, answer, keep):
    """Writes an answer. Returns whether the connection can be used again."""
    status, headers, body = answer
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, '')}"]
    for name, value in headers.items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            lines.append(f"{name}: {value}")
    empty = status in (204, 304)
    stream = not isinstance(body, bytes)
    if stream and not empty and not call.old:
        lines.append("Transfer-Encoding: chunked")
    elif not stream and not empty:
        lines.append(f"Content-Length: {len(body)}")
    if not keep:
        lines.append("Connection: close")
    if any("\r" in line or "\n" in line for line in lines):
        print("a header of the answer holds a line break", file=sys.stderr)
        return respond(connection, call, (500, {}, b"handler failed: bad header\n"), keep)
    head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    if not stream:
        connection.send(head if empty or call.method == "HEAD" else head + body)
        return keep
    connection.send(head)
    try:
        if not empty and call.method != "HEAD":
            for piece in body:
                if piece:
                    connection.send(piece if call.old else b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.send(b"" if call.old else b"0\r\n\r\n")
    finally:
        getattr(body, "close", bool)()
    return keep


def refuse(connection, refused):
    status, line = refused.args
    answer = status, {"Content-Type": "text/plain; charset=utf-8"}, (line + "\n").encode()
    respond(connection, Call(connection, "GET", "/", Headers()), answer, False)


class Server:
    def __init__(self, answer):
        self.answer = answer
        self.connections = 0
        self.calls = 0
        self.lock = _thread.allocate_lock()
        self.stopping = False

    def count(self, connections=0, calls=0):
        with self.lock:
            self.connections += connections
            self.calls += calls

    def one_call(self, connection):
        """Serves one call. Returns whether the connection can be used again."""
        connection.sock.settimeout(IDLE)
        lines = connection.head()
        if lines is None:
            return False
        connection.sock.settimeout(None)  # hob keeps the call's deadline
        self.count(calls=1)
        try:
            call, keep = parse(connection, lines)
            keep = keep and not self.stopping and self.connections <= MAX_KEPT
            keep = respond(connection, call, self.answer(call), keep)
            unread = 0
            while keep and not call.ended:
                unread += len(call.read())
                keep = unread <= MAX_UNREAD
            return keep
        finally:
            self.count(calls=-1)

    def talk(self, sock):
        connection = Connection(sock)
        try:
            while self.one_call(connection):
                pass
        except Refused as refused:
            try:
                refuse(connection, refused)
            except Gone:
                pass
        except (Gone, OSError):
            pass
        except Exception:
            import traceback

            traceback.print_exc()  # a stream broke off: the caller must see that it is not whole
        finally:
            sock.close()
            self.count(connections=-1)

    def run(self, listener):
        def stop(*_):
            self.stopping = True
            listener.close()  # ends the accept below

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        while not self.stopping:
            try:
                sock, _ = listener.accept()
            except OSError:
                if self.stopping:
                    break
                time.sleep(0.01)  # out of descriptors: some call has to end first
                continue
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.count(connections=1)
            _thread.start_new_thread(self.talk, (sock,))
            while self.connections >= MAX_CONNECTIONS and not self.stopping:
                time.sleep(0.001)
        while self.calls:
            time.sleep(0.005)


def listen():
    path = os.environ.get("HOB_SOCKET")
    if path:
        listener = socket.socket(socket.AF_UNIX)
        if os.path.exists(path):
            os.unlink(path)
        listener.bind(path)
    else:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080"))))
    listener.listen(1024)
    return listener


def serve(answer):
    """Serves until SIGTERM. `answer(call)` returns (status, headers, body)."""
    Server(answer).run(listen())
