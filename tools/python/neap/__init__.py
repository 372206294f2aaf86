"""Scopes of the neap allocator around what a request allocates. Without neap in the process, nothing happens."""

import contextvars
import functools
import inspect

from neap._scope import Scope, available, exempt, report

__all__ = ["Scope", "available", "current", "exempt", "report", "scoped"]

_current = contextvars.ContextVar("neap.current", default=None)


def current():
    """The Scope of the request that is being served, or None."""
    scope = _current.get()
    return None if scope is None or scope.ended else scope


def scoped(function):
    """Wraps a function that a request calls in another thread or task, so that it allocates in the request's scope.

    A function that is wrapped while a request is served is of that request, wherever it is called; else it is of the
    request in whose context it is called, which is that of anyio's and asyncio's to_thread and of asyncio's tasks.
    While another thread is in the scope, it runs outside."""
    mine = current()
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run(*args, **keywords):
            scope = mine or current()
            coroutine = function(*args, **keywords)
            return await (coroutine if scope is None else scope.run(coroutine))

    else:

        @functools.wraps(function)
        def run(*args, **keywords):
            scope = mine or current()
            if scope is None:
                return function(*args, **keywords)
            with scope:
                return function(*args, **keywords)

    return run
