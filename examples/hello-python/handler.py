def handle(req):
    """Answers a call. `req` is the body as text; see also req.body, req.json(), req.headers,
    req.method, req.path and req.query. Return a body, (body, status) or (body, status, headers)."""
    return f"Hello, {req or 'world'}!"
