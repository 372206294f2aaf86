"""Tests of neap-scenarios: scenarios_test.py --scenarios PROGRAM --shim counting_shim.so --library libneap.so [unittest's]

All scenarios run unpaced and small, so that they take milliseconds; one runs in its own time.
"""

import argparse
import concurrent.futures
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

PAGE_BYTES = 4096
MAGIC = b"nbpage1\0"
ARGUMENTS = None
SCALE = "0.02"
NO_THREADS = ("burst", "diurnal", "size-shift", "deep-shrink", "steady-churn", "requests-0.1", "requests-1", "requests-5",
              "connection-staircase", "growing-buffers", "request-mix", "request-mix-scopes")
# What is live in the end at scale 1, in MiB, from and to: what the summaries say, and one large object more.
LIVE_IN_THE_END = {
    "burst": (8, 8.5), "diurnal": (4.7, 5.2), "size-shift": (36, 36.1), "deep-shrink": (6.4, 6.9),
    "steady-churn": (64, 64.5), "requests-0.1": (0.1, 0.4), "requests-1": (1, 2), "requests-5": (5, 10),
    "connection-staircase": (3.5, 4.5), "growing-buffers": (6, 24), "request-mix": (2.3, 3.2),
    "request-mix-scopes": (2.3, 3.2), "idle-threads": (0, 0),
    "thread-per-connection": (0, 0), "producer-consumer": (0, 0),
}


class Page:
    def __init__(self, directory):
        self.path = os.path.join(directory, "page")
        with open(self.path, "wb") as file:
            file.write(MAGIC.ljust(PAGE_BYTES, b"\0"))
        with open(self.path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), PAGE_BYTES)

    def read(self):
        names = ("phase", "done", "live_bytes", "live_objects", "operations", "floor_bytes", "floor_live", "last_call_ns",
                 "p999_ns", "pid_of_interest", "phase_name", "progress")
        state = dict(zip(names, struct.unpack_from("<II8Q32sd", self._map, 8)))
        state["phase_name"] = state["phase_name"].rstrip(b"\0").decode()
        return state


def waits_of(pid):
    """Seconds for which each thread of a process was ready to run and did not, on a busy machine."""
    waits = {}
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                waits[thread] = int(file.read().split()[1]) / 1e9
    except (OSError, IndexError):  # it has ended
        pass
    return waits


def stolen():
    """Seconds for which the processors were another machine's."""
    with open("/proc/stat", encoding="ascii") as file:
        return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Looks at a process and its page every few milliseconds."""

    TICK = 0.005

    def __init__(self, process, page):
        self._process, self._page = process, page
        self._waits, self._late, self._stolen, self._last = {}, 0, stolen(), time.monotonic()

    def __iter__(self):
        """The time, and what the page says."""
        while self._process.poll() is None:
            now = time.monotonic()
            late = now - self._last - self.TICK
            self._late += late if late > self.TICK else 0
            self._last = now
            yield now, self._page.read()
            self._waits.update(waits_of(self._process.pid))
            time.sleep(self.TICK)

    def lost(self):
        """For how long the process's threads and we did not run when it was time to."""
        return sum(self._waits.values()) + self._late + stolen() - self._stolen


def run(*arguments, preload=None, page=None, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NEAP_", "LD_PRELOAD"))}
    if preload:
        clean["LD_PRELOAD"] = preload
    if page:
        clean["NEAP_BENCH_PAGE"] = page
    return subprocess.run([ARGUMENTS.scenarios, *arguments], env={**clean, **environment}, timeout=100, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def small(name, *more, scale=SCALE, **options):
    return run("--run", name, "--scale", scale, "--profile", "unpaced", *more, **options)


def names():
    return [json.loads(line)["name"] for line in run("--list").stdout.splitlines()]


class Counts:
    """What counting_shim.so saw of a run, and the page after it."""

    def __init__(self, name, *more, **options):
        with tempfile.TemporaryDirectory() as directory:
            page, counts = Page(directory), os.path.join(directory, "counts")
            self.result = small(name, *more, preload=ARGUMENTS.shim, page=page.path, NEAP_COUNTS=counts, **options)
            self.page = page.read()
            with open(counts, encoding="ascii") as file:
                numbers = [int(number) for number in file.read().split()]
        self.live, self.objects, self.calls, self.peak, self.sequence, self.looks, self.differences = numbers


class List(unittest.TestCase):
    def test_each_line_describes_a_scenario(self):
        rows = [json.loads(line) for line in run("--list").stdout.splitlines()]
        self.assertEqual(set(LIVE_IN_THE_END), {row["name"] for row in rows})
        for row in rows:
            self.assertEqual((row["kind"], row["world"], row["needs"]), ("scenario", "B", []))
            self.assertTrue(row["summary"])
            self.assertTrue(0 < row["quick_seconds"] < row["standard_seconds"])


class EveryScenario(unittest.TestCase):
    def check(self, preload):
        for name in names():
            with self.subTest(name), tempfile.TemporaryDirectory() as directory:
                page = Page(directory)
                result = small(name, preload=preload, page=page.path)
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
                state = page.read()
                self.assertEqual((state["done"], state["phase_name"], state["progress"]), (1, "silent", 1.0))
                self.assertGreater(state["operations"], 1000)
                self.assertEqual(state["floor_live"], state["live_bytes"])
                self.assertEqual(state["pid_of_interest"], 0)
                self.assertGreater(state["last_call_ns"], 0)
                self.assertGreaterEqual(state["floor_bytes"] * (state["live_bytes"] > 0), state["live_bytes"])
                self.assertEqual(state["floor_bytes"] % os.sysconf("SC_PAGESIZE"), 0)
                if name in ("idle-threads", "thread-per-connection", "producer-consumer"):
                    self.assertEqual((state["live_bytes"], state["live_objects"], state["floor_bytes"]), (0, 0, 0))

    def test_runs_under_glibc(self):
        self.check(None)

    def test_runs_under_neap(self):
        self.check(ARGUMENTS.library)

    def test_live_in_the_end_is_what_the_summary_says(self):
        for name, (least, most) in LIVE_IN_THE_END.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as directory:
                page = Page(directory)
                self.assertEqual(small(name, scale="0.25", page=page.path).returncode, 0)
                live = page.read()["live_bytes"] / 2**20 / 0.25
                self.assertTrue(least <= live <= most, f"{live} MiB, should be {least} to {most}")

    def test_prints_its_phases_without_a_page(self):
        result = small("burst")
        self.assertEqual(result.returncode, 0)
        self.assertEqual([line.split()[0] for line in result.stdout.splitlines()],
                         ["start", "warm", "peak", "drained", "low", "silent", "p99.9"])


class LiveBytes(unittest.TestCase):
    def test_the_shim_counts_the_same(self):
        for name in names():
            with self.subTest(name):
                counts = Counts(name)
                self.assertEqual(counts.result.returncode, 0)
                self.assertEqual((counts.live, counts.objects, counts.calls),
                                 tuple(counts.page[key] for key in ("live_bytes", "live_objects", "operations")))

    def test_the_shim_agrees_at_the_start_of_each_phase(self):
        for name in NO_THREADS:
            with self.subTest(name):
                counts = Counts(name)
                self.assertGreaterEqual(counts.looks, 3)
                self.assertEqual(counts.differences, 0)

    def test_the_same_seed_gives_the_same_curve(self):
        for name in names():
            with self.subTest(name):
                first, second, other = Counts(name), Counts(name), Counts(name, "--seed", "2")
                self.assertEqual((first.sequence, first.calls), (second.sequence, second.calls))
                if name != "size-shift":  # of which only the victims are random
                    self.assertNotEqual(first.sequence, other.sequence)
                if name in NO_THREADS:
                    self.assertEqual(first.peak, second.peak)

    def test_the_same_seed_gives_the_same_phases_under_every_allocator(self):
        for name in names():
            with self.subTest(name):
                glibc, neap = (
                    [line.split(", page floor")[0] for line in small(name, preload=preload).stdout.splitlines()[:-1]]
                    for preload in (None, ARGUMENTS.library)
                )
                self.assertEqual(glibc, neap)

    def test_scale_is_of_memory(self):
        small_one, large_one = Counts("burst", scale="0.01"), Counts("burst", scale="0.04")
        self.assertAlmostEqual(large_one.peak / small_one.peak, 4, delta=0.2)


class Scopes(unittest.TestCase):
    def test_are_used_where_neap_is_in_front(self):
        for name, used in {"request-mix": False, "request-mix-scopes": True}.items():
            with self.subTest(name):
                result = small(name, preload=ARGUMENTS.library, NEAP_OPTIONS="stats_exit:on")
                self.assertEqual(result.returncode, 0)
                self.assertIn("in use bytes", result.stderr)
                self.assertEqual("scopes: 0 open" in result.stderr, used, result.stderr)

    def test_change_nothing_of_the_work(self):
        plain, scoped = Counts("request-mix"), Counts("request-mix-scopes")
        self.assertEqual((plain.sequence, plain.calls), (scoped.sequence, scoped.calls))


class Time(unittest.TestCase):
    """Runs that wait, all at once: they sleep most of the time."""

    def watch(self, name, profile):
        """Answers what was seen, and how many seconds were lost meanwhile."""
        with tempfile.TemporaryDirectory() as directory:
            page = Page(directory)
            process = subprocess.Popen([ARGUMENTS.scenarios, "--run", name, "--scale", SCALE, "--profile", profile],
                                       env={**os.environ, "NEAP_BENCH_PAGE": page.path})
            watch = Watch(process, page)
            seen = list(watch)
            self.assertEqual(process.returncode, 0)
        return seen, watch.lost()

    def test_quick_takes_its_time(self):
        some = ("burst", "thread-per-connection", "requests-1")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for name, (seen, lost) in zip(some, pool.map(lambda name: self.watch(name, "quick"), some)):
                with self.subTest(name):
                    times = {}
                    for at, state in seen:
                        times.setdefault(state["phase_name"], []).append(at)
                    spans = {phase: at[-1] - at[0] for phase, at in times.items()}
                    self.assertAlmostEqual(spans["start"], 0.3, delta=0.1 + lost)
                    self.assertAlmostEqual(spans["silent"], 1.5, delta=0.2 + lost)
                    self.assertAlmostEqual(times["silent"][0] - times["start"][-1], 3, delta=0.5 + lost)
                    silent = [state for _, state in seen if state["phase_name"] == "silent"]
                    self.assertEqual(len({(state["operations"], state["live_bytes"]) for state in silent}), 1)
                    begun = times["silent"][0] - silent[0]["last_call_ns"] / 1e9
                    self.assertTrue(-0.01 - lost < begun < 0.2 + lost, f"last call {begun} s before the silence")
                    progress = [state["progress"] for _, state in seen]
                    self.assertEqual(progress, sorted(progress))

    def test_who_was_stopped_catches_up(self):
        """Half a second in which nothing runs does not move what comes after."""
        with tempfile.TemporaryDirectory() as directory:
            page, began, stopped = Page(directory), {}, None
            process = subprocess.Popen([ARGUMENTS.scenarios, "--run", "burst", "--scale", SCALE],
                                       env={**os.environ, "NEAP_BENCH_PAGE": page.path})
            watch = Watch(process, page)
            for now, state in watch:
                began.setdefault(state["phase_name"], now)
                if state["phase_name"] == "peak" and stopped is None:
                    stopped = now
                    process.send_signal(signal.SIGSTOP)
                if stopped and now > stopped + 0.5:
                    process.send_signal(signal.SIGCONT)
            self.assertEqual(process.returncode, 0)
        self.assertAlmostEqual(began["silent"] - began["warm"], 3, delta=0.2 + watch.lost())


class BadArguments(unittest.TestCase):
    def check(self, message, *arguments, **options):
        result = run(*arguments, **options)
        self.assertEqual((result.returncode, result.stdout), (2, ""), result)
        self.assertIn(message, result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1)

    def test_arguments(self):
        for message, arguments in {
            "either --list or --run NAME": [],
            "either --list or --run": ["--list", "--run", "burst"],
            "no scenario is called bursts": ["--run", "bursts"],
            "option '--run' requires an argument": ["--run"],
            "unrecognized option '--fast'": ["--run", "burst", "--fast"],
            "burst: there is nothing this could mean": ["burst"],
            "no profile is called slow": ["--run", "burst", "--profile", "slow"],
            "--scale 0:": ["--run", "burst", "--scale", "0"],
            "--scale -1:": ["--run", "burst", "--scale", "-1"],
            "--scale nan:": ["--run", "burst", "--scale", "nan"],
            "--scale 1x:": ["--run", "burst", "--scale", "1x"],
            "--scale :": ["--run", "burst", "--scale", ""],
            "--scale 1001:": ["--run", "burst", "--scale", "1001"],
            "--seed -1:": ["--run", "burst", "--seed", "-1"],
            "--seed 1.5:": ["--run", "burst", "--seed", "1.5"],
            "--seed 99999999999999999999:": ["--run", "burst", "--seed", "99999999999999999999"],
        }.items():
            with self.subTest(message):
                self.check(message, *arguments)

    def test_pages(self):
        with tempfile.TemporaryDirectory() as directory:
            paths = {name: os.path.join(directory, name) for name in ("missing", "short", "alien")}
            for name, text in {"short": b"nbpage1\0", "alien": b"x" * PAGE_BYTES}.items():
                with open(paths[name], "wb") as file:
                    file.write(text)
            for name, message in {"missing": "No such file", "short": "is not a file of 4096 bytes",
                                  "alien": "is not a page of the benchmark's runner"}.items():
                with self.subTest(name):
                    self.check(message, "--run", "burst", page=paths[name])

    def test_no_memory(self):
        limited = ["bash", "-c", 'ulimit -v $1; shift; exec "$@"', "-"]
        for limit, status, message in (("20000", 3, "for the scenario's own state"), ("80000", 1, "phase peak: malloc of")):
            with self.subTest(limit):
                result = subprocess.run([*limited, limit, ARGUMENTS.scenarios, "--run", "burst", "--profile", "unpaced"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
                self.assertEqual(result.returncode, status, result)
                self.assertIn(message, result.stderr)


class BrokenAllocators(unittest.TestCase):
    """A malloc that hands out what is in use must not come out as the one that needs least."""

    def test_overlapping_objects_are_noticed(self):
        result = small("burst", preload=ARGUMENTS.overlapping)
        self.assertEqual(result.returncode, 1)
        self.assertIn("has changed: the allocator is broken", result.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for option in ("--scenarios", "--shim", "--library", "--overlapping"):
        parser.add_argument(option, required=True)
    ARGUMENTS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
