"""A scope around every request of an ASGI application (FastAPI, Starlette, …) and every WebSocket connection."""

import neap
from neap._request import TOO_LARGE, Request


def route(scope):
    """The path of the route, as FastAPI leaves it in the ASGI scope, or the name of the endpoint, as Starlette does."""
    path = getattr(scope.get("route"), "path", None)
    endpoint = scope.get("endpoint")
    if path is not None or endpoint is None:
        return path
    named = endpoint if hasattr(endpoint, "__qualname__") else type(endpoint)
    return f"{named.__module__}.{named.__qualname__}"


class ScopeMiddleware:
    """Every step of a request's coroutine is bracketed, so that requests that take turns stay apart.

    limit: how many bytes may live in a request's scope; beyond, MemoryError, and a 503 where no answer has begun.
    label: a function of the ASGI scope that names what the request is counted under; None: nothing."""

    def __init__(self, app, limit=0, label=route):
        self.app, self.limit, self.label = app, limit, label

    async def __call__(self, scope, receive, send):
        # What a lifespan makes is to stay, and a request within another's scope is of that.
        if scope["type"] == "lifespan" or not neap.available() or neap.current() is not None:
            await self.app(scope, receive, send)
            return
        request = Request(self.limit, self.label, scope)
        neap._current.set(request.scope)  # this task's; which asks whether it has ended
        try:
            if self.limit and scope["type"] == "http":
                await self._run_limited(request, scope, receive, send)
            else:
                await request.scope.run(self.app(scope, receive, send))
        finally:
            request.end()

    async def _run_limited(self, request, scope, receive, send):
        started = False

        def watched_send(message):
            nonlocal started
            if message["type"] == "http.response.start":
                # A framework's answer to our MemoryError.
                if message["status"] == 500 and request.was_refused():
                    raise MemoryError
                started = True
            return send(message)

        try:
            await request.scope.run(self.app(scope, receive, watched_send))
        except MemoryError:
            if started:
                raise
            request.refused = True
        if request.refused:
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(TOO_LARGE))]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": TOO_LARGE})
