"""Counts the system calls with which an allocator returns memory, in a run of its own: being traced costs time, so
nothing else of that run is kept."""

import os
import re
import tempfile

from .command import Command, clean_environment
from .errors import BenchError
from .execute import arguments
from .page import Page

STRACE = "/usr/bin/strace"
CALLS = "madvise,process_madvise"


def why_not():
    return None if os.access(STRACE, os.X_OK) else f"madvise calls are not counted: {STRACE} is not installed"


def count_calls(workload, allocator, conditions):
    with tempfile.TemporaryDirectory(prefix="neap-bench-") as directory:
        with Page(os.path.join(directory, "page")) as page:
            counts = os.path.join(directory, "counts")
            variables = [word for pair in allocator.variables().items() for word in ("-E", "=".join(pair))]
            argv = [
                STRACE,
                "-f",
                "--seccomp-bpf",
                "-qq",
                "-c",
                "-U",
                "calls,name",
                "-e",
                f"trace={CALLS}",
                "-o",
                counts,
                *variables,
                "--",
                *arguments(workload, conditions),
            ]
            with Command(argv, {**clean_environment(), "NEAP_BENCH_PAGE": page.path}, directory) as command:
                while not command.wait(1):
                    pass
            if command.status or not page.read().done:
                raise BenchError(f"madvise calls are not counted: {command.how_it_ended()}")
            with open(counts, encoding="utf-8") as table:
                rows = re.findall(r"^\s*(\d+)\s+\w*madvise$", table.read(), re.MULTILINE)
            return sum(map(int, rows))
