"""From a request to handler.handle and back.

`handle(req)` gets a Request; `handle(event, context)`, the OpenFaaS form, gets the same Request
and a Context. What it may return is in `as_response`.
"""

import os
import sys

import handler


class Request(str):
    """The body as text, with the rest of the request in its attributes."""

    def __new__(cls, call):
        self = super().__new__(cls, call.body.decode("utf-8", "replace"))
        self.body = call.body  # bytes
        self.method = call.method
        self.path = call.path  # without the query
        self.query_string = call.query
        self.headers = call.headers  # a dict; names are found in any case
        return self

    @property
    def text(self):
        return str(self)

    def json(self):
        import json

        return json.loads(self.body)

    @property
    def query(self):
        """Query parameters as a dict; of a repeated one, the first."""
        from urllib.parse import parse_qs

        pairs = parse_qs(self.query_string, keep_blank_values=True)
        return {name: values[0] for name, values in pairs.items()}


class Context:
    """Where the function runs."""

    hostname = os.uname().nodename
    function = os.environ.get("HOB_FUNCTION", "")
    namespace = os.environ.get("HOB_NAMESPACE", "")
    revision = os.environ.get("HOB_REVISION", "")


def answer(call):
    """Returns (status, headers, body) for serve.py; the body is bytes or an iterator of bytes."""
    request = Request(call)  # outside of `try`: a body that breaks off is not the handler's fault
    try:
        return as_response(handle(request))
    except Exception:
        import traceback

        traceback.print_exc()
        name = os.environ.get("HOB_FUNCTION")
        where = f"`hob logs {name}`" if name else "its log"
        return 500, {"Content-Type": TEXT}, f"handler failed: see {where}\n".encode()


def handle(request):
    result = handler.handle(request, Context) if WITH_CONTEXT else handler.handle(request)
    if hasattr(result, "__await__"):
        import asyncio

        async def finish():
            return await result

        return asyncio.run(finish())
    return result


def as_response(result):
    """body | (body, status) | (body, headers) | (body, status, headers)
    | {"statusCode": …, "body": …, "headers": …}"""
    status, headers, body = 200, {}, result
    if isinstance(result, tuple):
        body, *rest = result
        for part in rest:
            if isinstance(part, int):
                status = part
            elif hasattr(part, "items"):
                headers = part
            else:
                raise TypeError(f"a handler returns (body, status, headers), not {part!r}")
    elif isinstance(result, dict) and "statusCode" in result:
        status = int(result["statusCode"])
        headers = result.get("headers") or {}
        body = result.get("body")
    kind, body = as_body(body)
    headers = {str(name): str(value) for name, value in headers.items()}
    if kind and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    return status, headers, body


def as_body(value):
    """The content type that suits a value, and the value as bytes."""
    if value is None:
        return None, b""
    if isinstance(value, str):
        return TEXT, value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "application/octet-stream", bytes(value)
    if hasattr(value, "__next__"):
        return TEXT, (piece.encode() if isinstance(piece, str) else piece for piece in value)
    import json

    return "application/json", json.dumps(value).encode()


def takes_context(function):
    """Whether it wants (event, context). `inspect` is slow to import, so only where it must be."""
    code = getattr(function, "__code__", None)
    if code is not None:
        return code.co_argcount >= 2
    import inspect

    return len(inspect.signature(function).parameters) >= 2


TEXT = "text/plain; charset=utf-8"
if not callable(getattr(handler, "handle", None)):
    sys.exit("handler.py has no function `handle(req)` or `handle(event, context)`")
WITH_CONTEXT = takes_context(handler.handle)
