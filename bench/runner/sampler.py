"""Samples a workload's page and the memory of its processes together.

Three rhythms keep the cost below 2 % of a CPU whatever the size of the heap: the page is looked at every 20 ms;
/proc/PID/status and stat are read every 50 ms (RssAnon counts every anonymous page, also those under MADV_FREE);
smaps_rollup, where the kernel walks the page tables, is read as often as 0.6 % of a CPU allows. What the walk found to
be shared between processes is taken off each sample.
"""

import time

from .proc import NO_ROLLUP, Tree

LOOK_SECONDS = 0.02
SAMPLE_SECONDS = 0.05
WALK_SHARE = 0.006
TRIES = 3  # for a sample that lies within one phase
COLUMNS = (
    "t",  # seconds since the command was started
    "phase",  # index into the phases
    "live",  # bytes, as the page says
    "operations",
    "resident",  # bytes: anonymous and shared memory and swap of all processes, as Pss
    "pss",  # bytes, of the last walk, as are the next three
    "lazy_free",
    "huge",
    "mappings",
    "rss",
    "cpu",  # seconds
    "faults",
    "threads",
    "processes",
)


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
        self._cpu_before = time.thread_time()

    def close(self):
        self._tree.close()

    def cpu_share(self):
        """Of one CPU, what we have used since we began."""
        return (time.thread_time() - self._cpu_before) / max(1e-9, time.monotonic() - self._started)

    def look(self):
        """Takes what is due. To be called every LOOK_SECONDS."""
        now = time.monotonic()
        if self._page.phase() == self._phase and now < self._next_sample:
            return
        pid = self._page.pid_of_interest()
        if pid and pid != self._tree.root:
            self._tree.close()
            self._tree = Tree(pid)
            self._next_walk = now
        self._sample(now)
        self._next_sample = max(self._next_sample + self._interval, now)

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
        anonymous = sum(each.anonymous for each in counts)
        row = (
            round(now - self._started, 4),
            len(self.phases) - 1,
            self.state.live_bytes,
            self.state.operations,
            max(0, anonymous - self._rollup.shared_anonymous) + self._rollup.elsewhere,
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
        for name, value in zip(COLUMNS, row):
            self.samples[name].append(value)

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
