"""A scope around every request of a WSGI application (Flask, …), from its call to its response's close()."""

import neap
from neap._request import TOO_LARGE, Request


def route(environ):
    """The rule of the URL, as Flask leaves it in the environment with its request."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return getattr(rule, "rule", None)


class ScopeMiddleware:
    """limit: how many bytes may live in a request's scope; beyond, MemoryError, and a 503 where no answer has begun.
    label: a function of the WSGI environment that names what the request is counted under; None: nothing."""

    def __init__(self, app, limit=0, label=route):
        self.app, self.limit, self.label = app, limit, label

    def __call__(self, environ, start_response):
        if not neap.available() or neap.current() is not None:
            return self.app(environ, start_response)
        request = Request(self.limit, self.label, environ)
        body = None
        try:
            body = self._call(request, environ, start_response)
        finally:
            if body is None:
                request.end()
        # A server sends its own kind of file in its own way.
        if isinstance(body, environ.get("wsgi.file_wrapper", ())):
            request.end()
            return body
        return Body(body, request)

    def _call(self, request, environ, start_response):
        started = False

        def watched_start(status, headers, *exc_info):
            nonlocal started
            request.set_label()  # Flask forgets the route when it returns
            # A framework's answer to our MemoryError.
            if self.limit and status.startswith("500") and request.was_refused():
                raise MemoryError
            started = True
            return start_response(status, headers, *exc_info)

        try:
            with request:
                return self.app(environ, watched_start)
        except MemoryError:
            if started or not self.limit:
                raise
            request.refused = True
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(TOO_LARGE)))]
        start_response("503 Service Unavailable", headers)
        return [TOO_LARGE]


class Body:
    """A response's iterable: what it yields is made in the request's scope, and its close() ends it."""

    def __init__(self, body, request):
        self._body, self._request, self._iterator = body, request, None

    def __len__(self):
        return len(self._body)

    def __iter__(self):
        return self

    def __next__(self):
        with self._request:
            if self._iterator is None:
                self._iterator = iter(self._body)
            return next(self._iterator)

    def close(self):
        try:
            if hasattr(self._body, "close"):
                with self._request:
                    self._body.close()
        finally:
            self._request.end()
