"""Samples a process's memory, CPU time and page faults from /proc."""

import os
import threading
import time
from typing import NamedTuple

MB = 1e6
CLOCK_TICK = os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class Sample(NamedTuple):
    seconds: float  # since the sampler started
    mb: float
    cpu_seconds: float  # of all threads, since the process started
    faults: int  # minor and major, since the process started


def pss_bytes(pid):
    """Proportional set size. Pages under MADV_FREE count as resident, as they do for every limit and monitor."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE_SIZE


def cpu_and_faults(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        # The second field, the name in brackets, may hold spaces; count from its end.
        fields = stat.read().rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(pid)
    minor, major, user, system = (int(fields[i]) for i in (7, 9, 11, 12))
    return (user + system) / CLOCK_TICK, minor + major


class Sampler(threading.Thread):
    """Samples `pid` every `interval` seconds until it ends or `stop` is called."""

    def __init__(self, pid, interval=0.1):
        super().__init__(name="sampler", daemon=True)
        self.pid = pid
        self.interval = interval
        self.samples = []
        self.phases = []  # (seconds, name), by their beginnings
        self._started_at = time.monotonic()
        self._stopping = threading.Event()
        self._memory, self.measure = self._choose_measure()

    def _choose_measure(self):
        try:
            pss_bytes(self.pid)
            return pss_bytes, "Pss"
        except OSError:  # old kernels, and some containers
            return rss_bytes, "Rss"

    def seconds(self):
        return time.monotonic() - self._started_at

    def begin_phase(self, name):
        self.phases.append((self.seconds(), name))

    def run(self):
        while True:
            now = self.seconds()
            try:
                sample = Sample(now, self._memory(self.pid) / MB, *cpu_and_faults(self.pid))
            except OSError:
                return  # it has ended
            self.samples.append(sample)
            if self._stopping.wait(self.interval - (self.seconds() - now) % self.interval):
                return

    def stop(self):
        self._stopping.set()
        if self.is_alive():
            self.join()


def phase_start(phases, name):
    return next((seconds for seconds, phase in phases if phase == name), None)


def peak_mb(samples):
    return max((sample.mb for sample in samples), default=None)


def mb_at(samples, seconds):
    """The last sample taken by then; None without one, or where the curve ends earlier."""
    if not samples or samples[-1].seconds < seconds:
        return None
    return next((sample.mb for sample in reversed(samples) if sample.seconds <= seconds), None)
