"""One run of a world: its amounts, its phases as the runner sees them, its servers, and what came of it."""

import asyncio
import contextlib
import os
import random
import resource
import socket
import sys
import time
from typing import Callable, NamedTuple

from errors import CannotRun, Failed, raise_pending
from server import Child, allocator_environment, check_preload, clean_environment

PYTHON = "/usr/bin/python3"
SERVERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "servers")
START_SECONDS = 0.5
SETTLE_SECONDS = 0.5  # after the last request
MALLOC_MODE = "+malloc"


class World(NamedTuple):
    """What apps.py offers by name. A Python world is offered a second time with PYTHONMALLOC=malloc: CPython then
    leaves its small objects to the allocator."""

    name: str
    world: str  # the row of the table of worlds
    summary: str
    needs: list
    run: Callable  # takes a Bench
    is_python: bool = False


class Profile(NamedTuple):
    factor: float  # of work in each phase
    cycles: int
    low_seconds: float  # of each cycle's low-traffic window
    silence: int  # seconds
    limit: float  # seconds after which a phase's load is cut short
    seconds: int  # about, for the whole run


PROFILES = {
    "quick": Profile(factor=1, cycles=2, low_seconds=0.4, silence=10, limit=5, seconds=15),
    "standard": Profile(factor=4, cycles=8, low_seconds=1, silence=10, limit=15, seconds=60),
    "full": Profile(factor=4, cycles=24, low_seconds=1, silence=60, limit=15, seconds=200),
}


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def free_port(wanted=0):
    """A port of loopback that nobody listens on; `wanted`, unless it is 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise Failed(f"cannot listen on port {wanted} of 127.0.0.1: {error.strerror}") from error
        return probe.getsockname()[1]


class Bench:
    def __init__(self, world, mode, options, page, directory):
        self.world = world
        self.profile = PROFILES[options.profile]
        self.seed = options.seed
        self.random = random.Random(options.seed)
        self.directory = directory
        self.programs = options.programs
        self.silence_seconds = self.profile.silence if options.silence is None else options.silence
        self._silent_phase = f"silent-{self.profile.silence}" if options.silence is None else "silent"
        self._mode, self._options, self._page = mode, options, page
        self.scale = options.scale
        self._server, self._phase, self._phases_done = None, None, 0
        self._latencies, self._requests, self._busy_seconds = [], 0, 0.0
        self._unit = "requests/s"
        self._cut, self._extra = [], {}
        self._loop = asyncio.new_event_loop()

    def close(self):
        self._loop.close()

    # Amounts

    def count(self, quick):
        """An amount of work for the profile and scale, from that of the quick one."""
        return max(1, round(quick * self.profile.factor * self._options.scale))

    def scaled(self, amount):
        """An amount that follows only the scale."""
        return max(1, round(amount * self._options.scale))

    # Servers

    def port(self):
        """A free port, or the one that was asked for."""
        return free_port(self._options.port)

    def need_open_files(self, count):
        """Raises the limit of ours and of our children to the highest allowed."""
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < count:
            raise CannotRun(f"{self.world.name} needs {count} open files, the limit is {hard} (ulimit -n)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    @contextlib.contextmanager
    def serve(self, argv, port=None, pipes=False, env=None, default_preload=""):
        """Runs the server under test, and stops it in the end. It is ready when it accepts connections on the port or,
        with pipes, has said its first word."""
        environment = {**clean_environment(), **(env or {})}
        if self._mode == MALLOC_MODE:
            environment["PYTHONMALLOC"] = "malloc"
        allocator = allocator_environment(self.directory, default_preload)
        environment.update(allocator)
        with Child(self.world.name, argv, environment, self.directory, pipes=pipes) as server:
            self._server = server
            if pipes:
                server.ask()
            else:
                server.wait_until_open(port)
            check_preload(server, allocator.get("LD_PRELOAD", ""))
            if self._page:
                self._page.set_pid_of_interest(server.pid)
            try:
                yield server
            except (OSError, EOFError) as error:
                server.check_alive(grace=1)
                raise Failed(f"the connection to {server.name} broke: {error}") from error
            self._extra["cpu_seconds"] = round(server.cpu_seconds(), 2)
            server.stop()

    def helper(self, name, argv, output=False):
        """A process that is not under test: a context manager."""
        return Child(name, argv, clean_environment(), self.directory, output=output)

    # Load

    def run_async(self, work):
        """Runs a coroutine to its end. Where that is a bad one, nothing goes on that it started."""
        try:
            result = self._loop.run_until_complete(work)
            raise_pending()
            return result
        except BaseException:
            self._end_tasks()
            raise

    def _end_tasks(self):
        self._loop.set_exception_handler(lambda *_: None)  # what failed first is told
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks))

    # Phases

    def phase(self, name):
        self.show_phase()
        self._phase = name
        self._phases_done += 1
        if self._page:
            self._page.begin_phase(name)
            self._page.set_progress(min(1.0, self._phases_done / (2 * self.profile.cycles + 6)))

    def show_phase(self):
        """For a person: the memory at the end of the phase."""
        if not self._page and self._phase:
            print(f"{self._phase:12} {self._server.pss_mb():8.1f} MB", flush=True)

    def sleep(self, seconds):
        """Sleeps, but no longer than the server lives."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._server.check_alive()
            time.sleep(min(left, 0.1))

    def course(self, *, warm, cycle, low, peak, drain=None):
        """What every world goes through: light work, cycles of busy and of low traffic, a peak, and silence. `drain`
        ends what the peak left."""
        self.phase("start")
        self.sleep(START_SECONDS)
        self.phase("warm")
        warm()
        for number in range(1, self.profile.cycles + 1):
            self.phase(f"cycle-{number}")
            cycle()
            self.phase(f"low-{number}")
            low()
        self.phase("peak")
        peak()
        self.phase("drained")
        if drain:
            drain()
        last_request = time.monotonic_ns()
        self.sleep(SETTLE_SECONDS)
        if self._page:
            self._page.set_last_call(last_request)
        self.phase(self._silent_phase)
        self.sleep(self.silence_seconds)
        self.show_phase()

    # What came of it

    def until(self):
        """When the load of the phase that runs is to be cut short."""
        return time.monotonic() + self.profile.limit * max(1.0, self._options.scale)

    def note_cut(self):
        if self._phase not in self._cut:
            self._cut.append(self._phase)

    def note_requests(self, requests, seconds, latencies=(), unit="requests/s"):
        """Work at full speed; latencies in seconds."""
        self._requests += requests
        self._busy_seconds += seconds
        self._latencies += latencies
        self._unit = unit

    def note(self, **fields):
        self._extra.update(fields)

    def result(self):
        if not self._requests:
            raise Failed(f"{self.world.name}: no request was answered")
        fields = {"throughput": round(self._requests / max(self._busy_seconds, 1e-9), 1), "unit": self._unit}
        if self._latencies:
            fields["p50_ms"] = round(percentile(self._latencies, 0.5) * 1e3, 3)
            fields["p99_ms"] = round(percentile(self._latencies, 0.99) * 1e3, 3)
        fields.update(self._extra, requests=self._requests)
        if self._cut:
            fields["cut_short"] = self._cut
            print(f"{self.world.name}: load cut short by its time limit in {', '.join(self._cut)}", file=sys.stderr)
        return fields

    def finish(self):
        if self._page:
            self._page.set_progress(1.0)
            self._page.set_done()
