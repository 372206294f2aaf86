"""What the two middlewares share."""

import logging

from neap import Scope, _current

TOO_LARGE = b"Service Unavailable: the request needs more memory than it may have\n"

log = logging.getLogger("neap")


class Request:
    """The scope of a request, with what it is to be counted under: label(about), which may be None for too early."""

    def __init__(self, limit, label, about):
        self.scope = Scope(limit=limit)
        self.refused = False
        self._limit, self._label, self._about = limit, label, about
        self._known = self._before = None

    def __enter__(self):
        """For a step of the request, not of a coroutine: that has its own context."""
        self._before = _current.set(self.scope)
        self.scope.__enter__()

    def __exit__(self, *_):
        self.scope.__exit__()
        _current.reset(self._before)

    def was_refused(self):
        """Whether the scope's limit was reached."""
        try:
            return self.scope.stats()["refused"] > 0
        except OSError:  # a thread that the request has left behind is in it
            return False

    def set_label(self):
        if self._known is None:
            self._known = self._label(self._about)
            if self._known is not None:
                self.scope.set_label(self._known)

    def end(self):
        if self.scope.ended:
            return
        try:
            self.set_label()
            if self.refused:
                log.warning("%s: a request was refused more than %d bytes", self._known or "-", self._limit)
        finally:
            self.scope.end()
