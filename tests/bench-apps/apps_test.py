"""Tests of bench/apps: apps_test.py --programs DIR [--library LIB]

Every workload whose packages are installed runs once with hardly any load; then what can go wrong. Prints, last, how
many passed and failed.
"""

import argparse
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

sys.dont_write_bytecode = True

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
APPS = os.path.join(ROOT, "bench/apps")
PYTHON = "/usr/bin/python3"
TINY = ["--profile", "quick", "--scale", "0.02", "--silence", "0.2"]
TINY_BUT_SILENT = (*TINY[:4], "--silence", "3")  # for what has to happen before it ends
PHASES = ["start", "warm", "cycle-1", "low-1", "cycle-2", "low-2", "peak", "drained", "silent"]
CANNOT_RUN = 3
MARK = "BENCH_APPS_TEST"  # variable that all processes of a run inherit
options = None

sys.path.insert(0, APPS)
import apps  # noqa: E402
import bench  # noqa: E402
import needs  # noqa: E402
from worlds import redis_mixed  # noqa: E402


def installed(world):
    """Programs that cmake builds are no package: the tests are to have them."""
    return all(need.startswith(needs.BUILT) or needs.is_there(need, "") for need in world.needs)


class Run:
    """apps.py with a page and a scratch directory of its own. `patch` is Python that runs in it before its main."""

    def __init__(self, *arguments, patch="", environment=(), page=True, programs=None):
        self._directory = tempfile.TemporaryDirectory(prefix="neap-apps-test-")
        self.scratch = os.path.join(self._directory.name, "scratch")
        os.mkdir(self.scratch)
        self._page = os.path.join(self._directory.name, "page")
        with open(self._page, "wb") as file:
            file.write(b"nbpage1\0".ljust(4096, b"\0"))
        self._mark = uuid.uuid4().hex
        variables = {**os.environ, "TMPDIR": self.scratch, MARK: self._mark, **dict(environment)}
        if page:
            variables.setdefault("NEAP_BENCH_PAGE", self._page)
        code = f"import sys; sys.path.insert(0, {APPS!r}); import apps, bench, needs, server; {patch}\n"
        code += "sys.exit(apps.main())"
        command = [os.path.join(APPS, "apps.py")] if not patch else [PYTHON, "-c", code]
        self.process = subprocess.Popen(
            [*command, *arguments, "--programs", programs or options.programs],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self._directory.cleanup()

    def field(self, offset, form):
        with open(self._page, "rb") as file:
            return struct.unpack_from(form, file.read(), offset)[0]

    def phase(self):
        return self.field(80, "32s").rstrip(b"\0").decode()

    def server(self):
        return self.field(72, "<Q")

    def wait_for(self, phase):
        """Or a later one: we may get no processor for as long as a phase takes."""
        until = time.monotonic() + 100
        while self.phase() not in PHASES[PHASES.index(phase) :]:
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"phase {phase} did not come: {self.finish()}")
            time.sleep(0.005)

    def finish(self):
        """Exit status, stdout, stderr."""
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err

    def processes(self):
        """What is left of it: by the mark in the environment, which some servers write their titles over, or by the
        directory they run in."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                ours = os.readlink(f"/proc/{pid}/cwd").startswith(self.scratch)
                with open(f"/proc/{pid}/environ", "rb") as environ:
                    marked = f"{MARK}={self._mark}".encode() in environ.read().split(b"\0")
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                    alive = stat.read().rpartition(")")[2].split()[0] != "Z"
            except OSError:
                continue
            if (marked or ours) and alive:
                found.append(int(pid))
        return found

    def wait_until_gone(self):
        until = time.monotonic() + 60
        while self.processes() and time.monotonic() < until:
            time.sleep(0.02)
        return not self.processes()


class Case(unittest.TestCase):
    def assert_nothing_left(self, run):
        # A child that was just being started ends by the kernel's hand, when the driver has ended.
        self.assertTrue(run.wait_until_gone(), run.processes())
        self.assertEqual(os.listdir(run.scratch), [])

    def assert_fails(self, run, status, *words):
        got, out, err = run.finish()
        self.assertEqual(got, status, out + err)
        for word in words:  # in the line that the runner shows
            self.assertIn(word, err.splitlines()[-1])
        self.assertNotIn("Traceback", err)
        self.assertNotIn('"throughput"', out)
        self.assertEqual(run.field(12, "<I"), 0, "the page says that it finished well")
        self.assert_nothing_left(run)


class EachWorld(Case):
    """Starts, serves, drains and stops. Its methods are made below, one for each workload."""

    def run_tiny(self, name):
        with Run("--run", name, *TINY) as run:
            status, out, err = run.finish()
            self.assertEqual((status, err), (0, ""), out)
            result = json.loads(out.splitlines()[-1])
            self.assertGreater(result["throughput"], 0)
            self.assertGreater(result["requests"], 0)
            self.assertRegex(result["unit"], "^[a-z]+/s$")
            if "p50_ms" in result:
                self.assertLessEqual(result["p50_ms"], result["p99_ms"])
            self.assertEqual(run.field(8, "<I"), len(PHASES))
            self.assertEqual(run.phase(), PHASES[-1])
            self.assertEqual(run.field(12, "<I"), 1, "done")
            self.assertEqual(run.field(112, "<d"), 1.0, "progress")
            self.assertGreater(run.field(56, "<Q"), 0, "time of the last request")
            self.assert_nothing_left(run)


def add_world_tests():
    for name, (world, mode) in apps.all_worlds().items():
        def test(self, name=name):
            self.run_tiny(name)

        if not installed(world):
            test = unittest.skip(f"not installed: {' '.join(world.needs)}")(test)
        # Of the second modes one is enough: test_python_mode sees that the mode takes.
        if not mode:
            setattr(EachWorld, f"test_{name}", test)


class Listing(Case):
    def test_lines_say_what_the_runner_needs(self):
        lines = subprocess.check_output([os.path.join(APPS, "apps.py"), "--list"], text=True).splitlines()
        listed = {entry["name"]: entry for entry in map(json.loads, lines)}
        self.assertEqual(len(lines), len(listed))
        for wanted in ("redis-mixed", "asgi-orm", "asgi-orm+malloc", "tcp-conn-threads", "ruby-puma"):
            self.assertIn(wanted, listed)
        self.assertNotIn("redis-mixed+malloc", listed)
        for entry in listed.values():
            self.assertEqual(entry["kind"], "app")
            self.assertRegex(entry["world"], "^A[1-7]$")
            self.assertGreater(entry["standard_seconds"], entry["quick_seconds"])
            for need in entry["needs"]:
                needs.is_there(need, "")  # KeyError: nobody knows what that is

    def test_phases_are_shown_to_a_person(self):
        with Run("--run", "py-burst", *TINY, page=False) as run:
            status, out, _ = run.finish()
            self.assertEqual(status, 0)
            self.assertEqual([line.split()[0] for line in out.splitlines()[:-1]], PHASES)

    def test_silent_phase_is_named_by_its_profile(self):
        patch = "bench.PROFILES['quick'] = bench.PROFILES['quick']._replace(silence=1)"
        with Run("--run", "py-burst", *TINY[:4], patch=patch) as run:
            self.assertEqual(run.finish()[0], 0)
            self.assertEqual(run.phase(), "silent-1")


class Environment(Case):
    def variables(self, pid):
        with open(f"/proc/{pid}/environ", encoding="utf-8") as environ:
            return dict(entry.split("=", 1) for entry in environ.read().split("\0") if "=" in entry)

    def test_only_the_server_gets_the_allocator(self):
        preload, given = options.library or "libc.so.6", {"SOME_OPTION": "a,b:c"}
        # The caller's own settings stay out of the server.
        mine = {"NEAP_BENCH_PRELOAD": preload, "NEAP_BENCH_ENV": json.dumps(given), "MALLOC_ARENA_MAX": "1"}
        with Run("--run", "client-churn-one", *TINY[:4], "--silence", "5", environment=mine) as run:
            run.wait_for("start")
            variables = self.variables(run.server())
            self.assertEqual(variables["LD_PRELOAD"], preload)
            self.assertEqual(variables["SOME_OPTION"], "a,b:c")
            self.assertNotIn("MALLOC_ARENA_MAX", variables)
            others = [pid for pid in run.processes() if pid != run.server()]
            self.assertGreaterEqual(len(others), 2)  # we and the stub
            for pid in others:
                self.assertNotIn("LD_PRELOAD", self.variables(pid))
            if options.library:
                with open(f"/proc/{run.server()}/maps", encoding="utf-8") as maps:
                    self.assertIn(os.path.realpath(options.library), maps.read())

    def test_python_mode(self):
        for name, wanted in (("py-burst", None), ("py-burst+malloc", "malloc")):
            with Run("--run", name, *TINY_BUT_SILENT) as run:
                run.wait_for("start")
                self.assertEqual(self.variables(run.server()).get("PYTHONMALLOC"), wanted)
                self.assertEqual(run.finish()[0], 0)

    def test_library_with_a_space_in_its_path(self):
        if not options.library:
            self.skipTest("no --library")
        with tempfile.TemporaryDirectory(prefix="neap apps:") as directory:
            link = os.path.join(directory, "libneap.so")
            os.symlink(os.path.abspath(options.library), link)
            with Run("--run", "py-burst", *TINY, environment={"NEAP_BENCH_PRELOAD": link}) as run:
                status, _, err = run.finish()
                self.assertEqual((status, err), (0, ""))

    def test_library_that_does_not_exist(self):
        with Run("--run", "py-burst", *TINY, environment={"NEAP_BENCH_PRELOAD": "/no/such.so"}) as run:
            self.assert_fails(run, 1, "/no/such.so does not exist")

    def test_library_that_is_none(self):
        with Run("--run", "py-burst", *TINY, environment={"NEAP_BENCH_PRELOAD": __file__}) as run:
            self.assert_fails(run, 1, "the preload did not take", "invalid ELF header")

    def test_redis_that_keeps_its_own_jemalloc(self):
        if not needs.is_there("redis-server", ""):
            self.skipTest("not installed: redis-server")
        patch = "bench.allocator_environment = lambda directory, default: {}"
        with Run("--run", "redis-mixed", *TINY, patch=patch) as run:
            self.assert_fails(run, 1, "from its own jemalloc")


class BadInput(Case):
    def test_unknown_workload(self):
        with Run("--run", "redis", *TINY) as run:
            self.assert_fails(run, 1, "there is no workload redis")

    def test_variables_that_are_no_json(self):
        for text in ("{", "[1]", '{"A": 1}'):
            with Run("--run", "py-burst", *TINY, environment={"NEAP_BENCH_ENV": text}) as run:
                self.assert_fails(run, 1, "NEAP_BENCH_ENV is not a JSON object of strings")

    def test_page_that_is_none(self):
        pages = (("/no/page", "No such file"), ("/dev/null", "NEAP_BENCH_PAGE"), (__file__, "is not a page"))
        for path, words in pages:
            with Run("--run", "py-burst", *TINY, environment={"NEAP_BENCH_PAGE": path}) as run:
                self.assert_fails(run, 1, words)

    def test_numbers(self):
        for wrong in (["--scale", "0"], ["--scale", "nan"], ["--silence", "-1"], ["--port", "70000"], ["--seed", "x"]):
            with Run("--run", "py-burst", *wrong) as run:
                self.assert_fails(run, 2, wrong[0])

    def test_missing_package(self):
        with Run("--run", "redis-mixed", *TINY, patch="needs.PATH = '/no/path'") as run:
            self.assert_fails(run, CANNOT_RUN, "not installed: redis-server redis-tools")

    def test_missing_python_module(self):
        with Run("--run", "session-dict", *TINY, patch="needs.MODULES['python3-flask'] = 'no_such_module'") as run:
            self.assert_fails(run, CANNOT_RUN, "not installed: python3-flask")

    def test_server_that_is_not_built(self):
        with Run("--run", "tcp-conn-epoll", *TINY, programs="/no/build") as run:
            self.assert_fails(run, CANNOT_RUN, "not built: tcp-epoll in /no/build")

    def test_too_few_open_files(self):
        patch = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (150, 150))"
        with Run("--run", "long-conn-heartbeat", *TINY, patch=patch) as run:
            self.assert_fails(run, CANNOT_RUN, "open files, the limit is 150")

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            with Run("--run", "tcp-conn-asyncio", *TINY, "--port", port) as run:
                self.assert_fails(run, 1, f"cannot listen on port {port}", "Address already in use")

    def test_port_that_is_asked_for(self):
        port = str(bench.free_port())
        with Run("--run", "tcp-conn-asyncio", *TINY_BUT_SILENT, "--port", port) as run:
            run.wait_for("start")
            socket.create_connection(("127.0.0.1", int(port)), timeout=5).close()
            self.assertEqual(run.finish()[0], 0)


class Trouble(Case):
    """Servers that die or hang, and users who lose patience."""

    BUSY = ["--profile", "quick", "--silence", "30"]

    def test_server_dies_under_load(self):
        names = ["tcp-conn-asyncio", "long-conn-heartbeat", "py-burst", "redis-mixed", "session-dict"]
        for name in [*names, "nginx-static", "memcached-mixed"]:
            if not installed(apps.all_worlds()[name][0]):
                continue
            for phase in ("cycle-1", "peak", "silent"):
                with self.subTest(name=name, phase=phase), Run("--run", name, *self.BUSY) as run:
                    run.wait_for(phase)
                    os.kill(run.server(), signal.SIGKILL)
                    self.assert_fails(run, 1, f"{name} died, killed by signal 9")

    def test_server_dies_at_its_start(self):
        with Run("--run", "py-burst", *TINY, patch="bench.SERVERS = '/no/servers'; import worlds.py_burst; "
                 "worlds.py_burst.SERVERS = '/no/servers'") as run:
            self.assert_fails(run, 1, "py-burst died, exit status 2", "can't open file")

    def test_server_that_hangs(self):
        with Run("--run", "tcp-conn-asyncio", *self.BUSY, patch="apps.time_limit = lambda options: 4") as run:
            run.wait_for("cycle-1")
            os.kill(run.server(), signal.SIGSTOP)
            self.assert_fails(run, 1, "not finished after 4 s")

    def test_server_that_does_not_stop(self):
        patch = "server.TIME_TO_STOP = 1"
        with Run("--run", "tcp-conn-asyncio", *TINY_BUT_SILENT, patch=patch) as run:
            run.wait_for("silent")
            os.kill(run.server(), signal.SIGSTOP)
            self.assert_fails(run, 1, "did not stop within 1 s")

    def test_redis_that_opens_its_socket_late(self):
        with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as late:
            path = os.path.join(directory, "redis.sock")
            late.bind(path)
            opening = threading.Timer(0.3, late.listen)
            opening.start()
            with redis_mixed.Client(path):
                opening.join()

    def test_interrupted(self):
        phases = ("start", "cycle-1", "peak", "silent")
        for name in ("client-churn-one", "redis-mixed", "py-burst", "long-conn-all", "nginx-static"):
            if not installed(apps.all_worlds()[name][0]):
                continue
            for number, phase in zip((signal.SIGTERM, signal.SIGINT) * 2, phases):
                with self.subTest(name=name, signal=number, phase=phase), Run("--run", name, *self.BUSY) as run:
                    run.wait_for(phase)
                    self.assertIn(run.server(), run.processes())
                    run.process.send_signal(number)
                    self.assert_fails(run, 128 + number, "interrupted")

    def test_interrupted_while_it_starts_a_server(self):
        patch = "import os, signal; os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))"
        with Run("--run", "tcp-conn-asyncio", *TINY, patch=patch) as run:
            self.assert_fails(run, 128 + signal.SIGTERM, "interrupted")

    def test_driver_is_killed(self):
        for name in ("client-churn-one", "redis-mixed"):
            if not installed(apps.all_worlds()[name][0]):
                continue
            with self.subTest(name=name), Run("--run", name, *self.BUSY) as run:
                run.wait_for("peak")
                run.process.kill()
                self.assertTrue(run.wait_until_gone())


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", metavar="DIR", required=True, help="where the built servers are")
    parser.add_argument("--library", metavar="LIB", help="an allocator to preload")
    options, rest = parser.parse_known_args()
    options.programs = os.path.abspath(options.programs)
    if options.library:
        options.library = os.path.abspath(options.library)
    add_world_tests()
    program = unittest.main(argv=[sys.argv[0], *rest], exit=False)
    bad = len({case.id().partition(" ")[0] for case, _ in program.result.failures + program.result.errors})
    bad += len(program.result.unexpectedSuccesses)
    print(f"{program.result.testsRun - bad - len(program.result.skipped)} passed, {bad} failed")
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
