"""The page that a workload shares with the runner: a file of 4096 bytes, little endian, written with plain stores."""

import mmap
import struct

SIZE = 4096
MAGIC = b"nbpage1\0"
PHASE, DONE, LAST_CALL_NS, PID_OF_INTEREST, PHASE_NAME, PROGRESS = 8, 12, 56, 72, 80, 112
NAME_BYTES = 32


class Page:
    """Raises OSError where the file is not to be had, ValueError where it is no such page."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)  # ValueError: the file is empty
        if len(self._map) != SIZE or self._map[: len(MAGIC)] != MAGIC:
            raise ValueError(f"{path} is not a page of the benchmark's runner")
        self._phase = 0

    def _store(self, offset, form, value):
        struct.pack_into(form, self._map, offset, value)

    def begin_phase(self, name):
        encoded = name.encode()
        if len(encoded) >= NAME_BYTES:
            raise ValueError(f"{name}: the name of a phase is too long")
        self._store(PHASE_NAME, f"<{NAME_BYTES}s", encoded)
        self._phase += 1
        self._store(PHASE, "<I", self._phase)

    def set_pid_of_interest(self, pid):
        self._store(PID_OF_INTEREST, "<Q", pid)

    def set_last_call(self, nanoseconds):
        self._store(LAST_CALL_NS, "<Q", nanoseconds)

    def set_progress(self, share):
        self._store(PROGRESS, "<d", share)

    def set_done(self):
        self._store(DONE, "<I", 1)
