"""One run: a workload under an allocator, watched from its start to its end. Answers a record for results.py."""

import json
import os
import tempfile
import time

from .command import Command, clean_environment
from .errors import BenchError
from .figures import of_run
from .micro import micro_arguments, parse_micro
from .page import Page
from .proc import mapped_files
from .sampler import SAMPLE_SECONDS, Sampler

CANNOT_RUN_HERE = 3  # a workload's exit status
GRACE = 30  # seconds beyond thrice its usual time, until a run is given up
PRELOAD_SECONDS = 2  # by then what has no phases has been loaded

# How a run came out. Only "ok" has figures.
OK, CANNOT, FAILED, LATE, OUT_OF_MEMORY, NOT_PRELOADED = "ok", "cannot", "failed", "late", "oom", "not-preloaded"


class Conditions:
    """What runs have in common."""

    def __init__(self, profile, seed, scale, interval=SAMPLE_SECONDS, silence=None):
        self.profile, self.seed, self.scale, self.interval = profile, seed, scale, interval
        self.silence = silence  # seconds of an app's, where it is not the profile's own


def arguments(workload, conditions):
    if workload.kind == "micro":
        return [*workload.command, *micro_arguments(workload.name, conditions.profile)]
    words = ["--run", workload.name, "--profile", conditions.profile, "--seed", str(conditions.seed)]
    if conditions.scale is not None:
        words += ["--scale", f"{conditions.scale:g}"]
    if conditions.silence is not None and workload.kind == "app":
        words += ["--silence", f"{conditions.silence:g}"]
    return [*workload.command, *words]


def environment(workload, allocator, page, bench_directory):
    variables = {**clean_environment(), "NEAP_BENCH_PAGE": page.path, "NEAP_BENCH_DIR": bench_directory}
    if workload.kind == "app":
        return {**variables, "NEAP_BENCH_PRELOAD": allocator.library or "", "NEAP_BENCH_ENV": json.dumps(allocator.env)}
    return {**variables, **allocator.variables()}


class PreloadCheck:
    """The loader only warns of a library that it cannot preload, so look at what is mapped."""

    def __init__(self, workload, allocator, page, command):
        self._wanted = allocator.library and os.path.realpath(allocator.library)
        self._page, self._command, self._is_app = page, command, workload.kind == "app"
        self._has_phases = workload.kind != "micro"
        self.taken = None if self._wanted else True

    def look(self):
        """Sets `taken` once that can be told."""
        if self.taken is not None:
            return
        pid = self._page.pid_of_interest() or (0 if self._is_app else self._command.pid)
        started = self._page.phase() > 0 if self._has_phases else True
        try:
            if pid and started:
                mapped = self._wanted in mapped_files(pid)
                late = time.monotonic() > self._command.started + PRELOAD_SECONDS
                self.taken = True if mapped else False if self._has_phases or late else None
        except OSError:
            pass  # it has gone; that is told elsewhere


def watch(command, sampler, preload, until):
    """Returns when the command has ended, (status, error) where that is not its own doing."""
    while not command.wait(sampler.pause()):
        sampler.look()
        preload.look()
        if preload.taken is False:
            return NOT_PRELOADED, "the library is not mapped in the program: the preload did not take"
        if time.monotonic() > until:
            return LATE, "not finished in time"
    return None, None


def verdict(command, sampler, preload, cgroup, has_phases):
    """(status, error) of a command that has ended by itself."""
    if cgroup and cgroup.kills():
        return OUT_OF_MEMORY, f"killed at its memory limit of {cgroup.limit / 1e6:.1f} MB"
    if command.status == CANNOT_RUN_HERE:
        return CANNOT, command.last_words(1) or "it cannot run here"
    if command.status:
        return FAILED, command.how_it_ended()
    if has_phases and not sampler.state.done:
        return FAILED, "ended without having said that it is done"
    if not preload.taken:
        return NOT_PRELOADED, "ended before the preload could be seen in it"
    return OK, None


def run(workload, allocator, conditions, bench_directory, cgroup=None):
    has_phases = workload.kind != "micro"
    with tempfile.TemporaryDirectory(prefix="neap-bench-") as directory:
        with Page(os.path.join(directory, "page")) as page:
            variables = environment(workload, allocator, page, bench_directory)
            until = time.monotonic() + GRACE + 3 * workload.estimate(conditions.profile) * (conditions.scale or 1)
            procs_file = cgroup.procs_file() if cgroup else None
            with Command(arguments(workload, conditions), variables, directory, procs_file) as command:
                sampler = Sampler(page, command.pid, command.started, conditions.interval)
                preload = PreloadCheck(workload, allocator, page, command)
                try:
                    status, error = watch(command, sampler, preload, until)
                    share = sampler.cpu_share()
                    if status is None:
                        sampler.finish()
                        status, error = verdict(command, sampler, preload, cgroup, has_phases)
                finally:
                    sampler.close()
            return record(workload, command, sampler, share, status, error)


def record(workload, command, sampler, share, status, error):
    state = sampler.state
    result = {
        "status": status,
        "error": error,
        "seconds": round(time.monotonic() - command.started, 3),
        "cpu_seconds": round(command.usage.ru_utime + command.usage.ru_stime, 4),
        "faults": command.usage.ru_minflt + command.usage.ru_majflt,
        "sampler_cpu_share": round(share, 5),
        "walks": sampler.walks,
        "rollup_error": sampler.rollup_error,
        "phases": sampler.phases,
        "last_call": sampler.last_call,
        "final": {
            "operations": state.operations,
            "live_bytes": state.live_bytes,
            "live_objects": state.live_objects,
            "floor_bytes": state.floor_bytes,
            "floor_live": state.floor_live,
            "p999_ns": state.p999_ns,
        },
        "of_server": bool(state.pid_of_interest),
        "samples": sampler.samples,
        "output": None,
        "benchmarks": None,
    }
    if status == OK and workload.kind == "micro":
        try:
            result["benchmarks"] = parse_micro(command.output())
        except BenchError as problem:
            result.update(status=FAILED, error=str(problem))
    elif status == OK and workload.kind == "app":
        result["output"] = last_object(command.output())
    result["figures"] = of_run(result, workload.kind) if result["status"] == OK else {}
    return result


def last_object(text):
    """The JSON object in the last line, if it is one."""
    try:
        value = json.loads(text.splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return value if isinstance(value, dict) else None
