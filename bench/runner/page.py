"""The page that a workload shares with us: a file of 4096 bytes, little endian, that it writes with plain stores.

The C side is bench/scenarios/page.h.
"""

import mmap
import os
import struct
from typing import NamedTuple

from .errors import BenchError

SIZE = 4096
MAGIC = b"nbpage1\0"
LAYOUT = struct.Struct("<8sII8Q32sd")


class PageState(NamedTuple):
    phase: int  # rises by one; 0 before the first
    done: bool
    live_bytes: int
    live_objects: int
    operations: int
    floor_bytes: int  # bytes of the distinct pages that hold a live byte; 0: not known
    floor_live: int  # live_bytes when that was taken
    last_call_ns: int  # CLOCK_MONOTONIC of the last allocator call before a silent phase
    p999_ns: int
    pid_of_interest: int  # 0: the whole command
    phase_name: str
    progress: float


class Page:
    def __init__(self, path):
        self.path = path
        with open(path, "w+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, SIZE)  # a hole could not be filled where the disk is full
            except OSError as error:
                raise BenchError(f"{path}: {error.strerror}") from error
            self._map = mmap.mmap(file.fileno(), SIZE)
        self._map[: len(MAGIC)] = MAGIC

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._map.close()

    def phase(self):
        """The number alone, for those who look often."""
        return struct.unpack_from("<I", self._map, 8)[0]

    def glance(self):
        """(phase, done, live bytes, operations)"""
        phase, done, live, _, operations = struct.unpack_from("<2I3Q", self._map, 8)
        return phase, done, live, operations

    def pid_of_interest(self):
        return struct.unpack_from("<Q", self._map, 72)[0]

    def read(self):
        while True:
            _, phase, done, *counts, name, progress = LAYOUT.unpack_from(self._map)
            if phase == self.phase():  # else the name may be the next one's
                break
        text = name.partition(b"\0")[0].decode("utf-8", "replace")
        return PageState(phase, bool(done), *counts, text, progress)
