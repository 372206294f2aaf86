"""Carries out a plan's tasks one after another, keeps what came of each, and shows how far it is."""

import sys
import time

from . import count, execute
from .errors import BenchError
from .limits import Limits, NoLimits, least_limit
from .plan import COUNT, RUN, seconds_of
from .sampler import COLUMNS

SLACK = 4 << 20  # what a process needs beside its heap, for the first limit tried


class Progress:
    """A line with what runs and what is left: rewritten on a terminal, else one a task."""

    def __init__(self, total, stream=sys.stderr):
        self._stream, self._total, self._done = stream, total, 0
        self._is_terminal = stream.isatty()
        self._pace, self._expected = 1.0, 0.0

    def begin(self, text, left):
        self._done += 1
        minutes, seconds = divmod(round(left * self._pace), 60)
        about = f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
        self._show(f"[{self._done}/{self._total}] {text} · about {about} left")

    def end(self, expected, took):
        """Learns how long tasks take here."""
        self._expected += expected
        self._pace += (took / max(expected, 0.1) - self._pace) * min(1.0, expected / max(self._expected, 1.0))

    def _show(self, line):
        print(
            f"\r\033[K{line}" if self._is_terminal else line,
            end="" if self._is_terminal else "\n",
            file=self._stream,
            flush=True,
        )

    def say(self, message):
        if self._is_terminal:
            print("\r\033[K", end="", file=self._stream)
        print(f"neap bench: {message}", file=self._stream, flush=True)


class Schedule:
    def __init__(self, store, profile, workloads, allocators, conditions, bench_directory, limit=None):
        """conditions: by kind of workload."""
        self.notes = []
        self._store, self._profile, self._conditions = store, profile, conditions
        self._workloads = {workload.name: workload for workload in workloads}
        self._allocators = {allocator.name: allocator for allocator in allocators}
        self._bench_directory, self._limit = bench_directory, limit
        self._limits = None
        self._cannot = {}  # by workload: why

    def carry_out(self, tasks, before):
        """Runs the tasks; `before` are the records of earlier ones, and grows."""
        for run in before:
            if run["status"] == execute.CANNOT:
                self._cannot[run["workload"]] = run["error"]
        progress = Progress(len(tasks))
        expected = [seconds_of(task, self._workloads[task.workload], self._profile) for task in tasks]
        for number, task in enumerate(tasks):
            times = f" · run {task.repeat}" if task.what == RUN else f" · {task.what}"
            progress.begin(f"{task.workload} · {task.allocator}{times}", sum(expected[number:]))
            started = time.monotonic()
            record = self._one(task, before)
            if record["status"] != execute.OK and self._cannot.get(task.workload) != record["error"]:
                progress.say(f"{task.workload} under {task.allocator}: {record['status']}: {record['error']}")
            if record["status"] == execute.CANNOT:
                self._cannot[task.workload] = record["error"]
            else:
                progress.end(expected[number], time.monotonic() - started)
            self._store.add(record)
            before.append(record)
        if tasks:
            progress.say("all runs done")

    def _one(self, task, before):
        workload, allocator = self._workloads[task.workload], self._allocators[task.allocator]
        if task.workload in self._cannot:
            record = {"status": execute.CANNOT, "error": self._cannot[task.workload]}
        elif task.what == RUN:
            record = self._measure(workload, allocator)
        else:
            record = self._beside(task.what, workload, allocator, before)
        if task.what == RUN and "samples" not in record:
            record.update(samples={name: [] for name in COLUMNS}, phases=[], figures={}, benchmarks=None)
        return {**task._asdict(), **record}

    def _measure(self, workload, allocator, limit=None):
        limit = limit or self._limit
        conditions = self._conditions[workload.kind]
        if not limit:
            return execute.run(workload, allocator, conditions, self._bench_directory)
        if self._limits is None:
            self._limits = Limits()
        with self._limits.cgroup(limit) as cgroup:
            return execute.run(workload, allocator, conditions, self._bench_directory, cgroup)

    def _beside(self, what, workload, allocator, before):
        try:
            if what == COUNT:
                reason = count.why_not()
                if reason:
                    raise BenchError(reason)
                calls = count.count_calls(workload, allocator, self._conditions[workload.kind])
                return {"status": execute.OK, "error": None, "madvise_calls": calls}
            return self._least_limit(workload, allocator, before)
        except BenchError as error:
            return {"status": execute.CANNOT if isinstance(error, NoLimits) else execute.FAILED, "error": str(error)}

    def _least_limit(self, workload, allocator, before):
        mine = [
            run
            for run in before
            if run["what"] == RUN
            and run["status"] == execute.OK
            and (run["workload"], run["allocator"]) == (workload.name, allocator.name)
        ]
        if not mine:
            raise BenchError("no least limit: there is no run without one")
        low = max(max(run["samples"]["live"]) for run in mine)
        high = max(max(run["samples"]["resident"]) for run in mine) + SLACK
        probes = []

        def completes(limit):
            status = self._measure(workload, allocator, limit)["status"]
            probes.append([limit, status])
            return status == execute.OK

        found = least_limit(completes, low, high)
        return {
            "status": execute.OK if found else execute.FAILED,
            "least_limit": found,
            "probes": probes,
            "error": None if found else f"does not complete under {probes[-1][0] / 1e6:.0f} MB either",
        }
