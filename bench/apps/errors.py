"""What ends a run early; the message is the whole story."""

import asyncio


class Failed(Exception):
    """The run went wrong."""

    status = 1


class CannotRun(Failed):
    """Something is missing on this machine."""

    status = 3


class Stopped(KeyboardInterrupt):
    """Told to stop, or out of time. As a KeyboardInterrupt it passes through the event loop."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


_pending = []  # reasons that a signal handler left for later


def stop(reason):
    """Raises it from a signal handler: where an event loop runs, between its steps rather than inside one."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise reason from None
    _pending.append(reason)
    loop.call_soon_threadsafe(raise_pending)


def raise_pending():
    """For after a loop's end, too: the reason may have come between its last step and that."""
    if _pending:
        raise _pending.pop()
