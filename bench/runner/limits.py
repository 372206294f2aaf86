"""Runs under a memory limit: cgroups of version 1 and 2, and the search for the least limit that suffices."""

import os
import re
import time

from .errors import BenchError

MEMORY_MOUNTS = "/proc/self/mountinfo"
STEP = 0.03  # the search ends when it knows the limit this well


class NoLimits(BenchError):
    """Why no memory limit can be set here."""


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def controllers(mounts, own):
    """(version, mount point, own cgroup's path in it) where a memory controller may be; from the texts of mountinfo
    and of /proc/self/cgroup."""
    own_paths = {}
    for line in own.splitlines():
        number, names, path = line.split(":", 2)
        own_paths["v2" if number == "0" else "memory" if "memory" in names.split(",") else number] = path
    found = []
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        mount_point = left.split()[4]
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup" and "memory" in options.split(","):
            found.append((1, mount_point, own_paths.get("memory", "/")))
        elif kind == "cgroup2":
            found.append((2, mount_point, own_paths.get("v2", "/")))
    return found


class MemoryCgroup:
    """A cgroup for one run, below `base`."""

    def __init__(self, version, base, limit):
        self.version, self.limit = version, limit
        self.path = os.path.join(base, f"neap-bench-{os.getpid()}")
        os.mkdir(self.path)
        try:
            if version == 1:
                self._write("memory.limit_in_bytes", limit)
                # Where swap is counted, it is bounded with the memory; without swap accounting the file is not there.
                if os.path.exists(self._file("memory.memsw.limit_in_bytes")):
                    self._write("memory.memsw.limit_in_bytes", limit)
            else:
                self._write("memory.max", limit)
                if os.path.exists(self._file("memory.swap.max")):
                    self._write("memory.swap.max", 0)
        except OSError:
            os.rmdir(self.path)
            raise

    def _file(self, name):
        return os.path.join(self.path, name)

    def _write(self, name, value):
        with open(self._file(name), "r+", encoding="ascii") as file:  # never made where it is missing
            file.write(str(value))

    def procs_file(self):
        return self._file("cgroup.procs")

    def kills(self):
        """How many processes were killed for want of memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        found = re.search(r"^oom_kill (\d+)$", read_text(self._file(name)), re.MULTILINE)
        return int(found[1]) if found else 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _ in range(100):  # processes that were just killed are still leaving
            try:
                os.rmdir(self.path)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)


class Limits:
    """Makes cgroups where this is permitted; raises NoLimits, with the reason, where it is not."""

    def __init__(self, mounts=None, own=None):
        found = controllers(mounts or read_text(MEMORY_MOUNTS), own or read_text("/proc/self/cgroup"))
        if not found:
            raise NoLimits("no memory limits: no cgroup file system is mounted here")
        reasons = []
        for version, mount_point, own_path in found:
            for base in dict.fromkeys((mount_point + own_path.rstrip("/"), mount_point)):
                reason = self._try(version, base)
                if reason is None:
                    self.version, self.base = version, base
                    return
                reasons.append(reason)
        raise NoLimits("no memory limits: " + "; ".join(dict.fromkeys(reasons)))

    def _try(self, version, base):
        if not os.path.isdir(base):
            return f"{base} is not visible"
        try:
            if version == 2:
                if "memory" not in read_text(os.path.join(base, "cgroup.controllers")).split():
                    return f"{base} has no memory controller"
                with open(os.path.join(base, "cgroup.subtree_control"), "r+", encoding="ascii") as control:
                    control.write("+memory")
            with MemoryCgroup(version, base, 1 << 30):
                return None
        except OSError as error:
            return f"{error.filename or base}: {error.strerror}"

    def cgroup(self, limit):
        return MemoryCgroup(self.version, self.base, limit)


def least_limit(completes, low, high):
    """The least number of bytes for which `completes(bytes)` holds, within STEP, given that it fails below `low`. None
    where not even four times `high` is enough."""
    ceiling = 4 * high
    while not completes(high):
        low, high = high, high * 2
        if high > ceiling:
            return None
    while high - low > STEP * high:
        middle = (low + high) // 2
        if completes(middle):
            high = middle
        else:
            low = middle
    return high
