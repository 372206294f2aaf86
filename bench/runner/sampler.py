"""Samples a workload's page and the memory of its processes together.

The cost stays below 2 % of a CPU whatever the size of the heap and the number of threads. Every 20 ms the page and
/proc/PID/statm are glanced at (every anonymous page counts there, also those under MADV_FREE), which is kept where memory
is on its way; so a sample every 50 ms, which also has CPU time and faults, suffices else. smaps_rollup, where the kernel
walks the page tables, is read as often as 0.4 % of a CPU allows. What the walk found to be shared between processes is
taken off each sample. All of it is paid from one budget: who has spent more looks again later, after 95 ms at the latest.
"""

import time
from typing import NamedTuple

from .proc import NO_ROLLUP, Tree

LOOK_SECONDS = 0.02
SAMPLE_SECONDS = 0.05
LONGEST_SECONDS = 0.095  # with the look itself and a late awakening there are still ten a second
BUDGET = 0.016  # of a CPU, for all that we do
CREDIT_SECONDS = 0.25  # of it, for what only the beginning costs: the first phase is as short as that
WORTH_KEEPING = 0.01  # of the greatest memory so far: a change between two samples that a straight line would hide
WALK_SHARE = 0.004
TRIES = 3  # for a sample that lies within one phase


class Row(NamedTuple):
    """One sample. From pss on it is what was found last, a walk or a sample ago."""

    t: float  # seconds since the command was started
    phase: int  # index into the phases
    live: int  # bytes, as the page says
    operations: int
    resident: int  # bytes: anonymous and shared memory and swap of all processes, as Pss
    pss: int  # bytes, of the last walk, as are the next three
    lazy_free: int
    huge: int
    mappings: int
    rss: int
    cpu: float  # seconds
    faults: int
    threads: int
    processes: int


COLUMNS = Row._fields


class Sampler:
    def __init__(self, page, pid, started, interval=SAMPLE_SECONDS):
        self.samples = {name: [] for name in COLUMNS}
        self.phases = []  # [seconds, name, number]; numbers that are left out were too short to be seen
        self.walks = 0
        self.last_call = None  # seconds, of the last allocator call before a silent phase
        self.state = page.read()
        self.rollup_error = None
        self._page, self._started, self._interval = page, started, interval
        self._tree = Tree(pid)
        self._phase = 0
        self._next_sample = self._next_walk = started
        self._rollup, self._mappings = NO_ROLLUP, 0
        self._row, self._glanced, self._most = None, None, 0
        self._cpu_before = time.thread_time()

    def close(self):
        self._tree.close()

    def _spent(self):
        return time.thread_time() - self._cpu_before

    def cpu_share(self):
        """Of one CPU, what we have used since we began."""
        return self._spent() / max(1e-9, time.monotonic() - self._started)

    def pause(self):
        """Seconds until the next look. To wake up costs most of it: in silence nothing is fast."""
        shortest = self._interval if self.state.phase_name.startswith("silent") else LOOK_SECONDS
        earned = time.monotonic() - self._started + CREDIT_SECONDS
        until_paid = self._spent() / BUDGET - earned
        return max(shortest, min(until_paid, max(self._interval, LONGEST_SECONDS)))

    def look(self):
        """Takes what is due."""
        now = time.monotonic()
        if self._page.phase() == self._phase and now < self._next_sample:
            self._glance(now)
            return
        pid = self._page.pid_of_interest()
        if pid and pid != self._tree.root:
            self._tree.close()
            self._tree = Tree(pid)
            self._next_walk = now
        self._sample(now)
        self._next_sample = max(self._next_sample + self._interval, now)

    def _glance(self, now):
        """Keeps live and resident bytes where they have changed since the last row, and those just before the change."""
        _, _, live, operations = self._page.glance()
        resident = self._resident(self._tree.each(lambda process: process.memory()[0]))
        if not self._row or not resident or self._page.glance()[:2] != (self._phase, False):
            return
        row = self._row._replace(t=self._time(now), live=live, operations=operations, resident=resident)
        change = max(abs(row.live - self._row.live), abs(row.resident - self._row.resident))
        if change <= self._most * WORTH_KEEPING:
            self._glanced = row
            return
        if self._glanced:
            self._keep(self._glanced)
        self._keep(row)

    def _time(self, now):
        return round(now - self._started, 4)

    def _resident(self, anonymous):
        """Of all processes, 0 where none is left."""
        if not anonymous:
            return 0
        return max(0, sum(anonymous) - self._rollup.shared_anonymous) + self._rollup.elsewhere

    def _keep(self, row):
        for name, value in zip(COLUMNS, row):
            self.samples[name].append(value)
        self._row, self._glanced = row, None
        self._most = max(self._most, row.live, row.resident)

    def _note_phase(self, now):
        if self.state.phase != self._phase:
            self._phase = self.state.phase
            self.phases.append([round(now - self._started, 4), self.state.phase_name, self.state.phase])
        if self.state.last_call_ns:
            self.last_call = self.state.last_call_ns / 1e9 - self._started

    def finish(self):
        """The page's last words, after the workload has ended."""
        self.state = self._page.read()
        self._note_phase(time.monotonic())

    def _counts_in_one_phase(self, now):
        """What was read while the workload went on to its next phase belongs to neither: where the last sample of
        `start` is one of these, all later ones would be too low."""
        for _ in range(TRIES):
            self.state = self._page.read()
            self._note_phase(now)
            counts = self._tree.each(lambda process: process.counts())
            if self._page.phase() == self.state.phase:
                break
        return counts

    def _sample(self, now):
        counts = self._counts_in_one_phase(now)
        if not counts or self._page.read().done:  # what it frees as it ends is no figure
            return
        if now >= self._next_walk:
            self._walk()
        self._keep(
            Row(
                self._time(now),
                len(self.phases) - 1,
                self.state.live_bytes,
                self.state.operations,
                self._resident([each.anonymous for each in counts]),
                self._rollup.pss,
                self._rollup.lazy_free,
                self._rollup.huge,
                self._mappings,
                sum(each.resident for each in counts),
                round(sum(each.cpu_seconds for each in counts), 2),
                sum(each.faults for each in counts),
                sum(each.threads for each in counts),
                len(counts),
            )
        )

    def _walk(self):
        before = time.thread_time()
        try:
            found = self._tree.each(lambda process: (process.rollup(), process.mappings()))
        except PermissionError as error:
            self.rollup_error, found = str(error), []
        self._rollup = sum((rollup for rollup, _ in found), NO_ROLLUP)
        self._mappings = sum(mappings for _, mappings in found)
        self.walks += 1
        cost = time.thread_time() - before
        self._next_walk = time.monotonic() + max(self._interval, cost / WALK_SHARE)
