#!/usr/bin/python3
"""Tests of tools/demo: its charts, its sampler, its two programs and its error paths."""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO_DIRECTORY = os.path.join(ROOT, "tools", "demo")
sys.path.insert(0, DEMO_DIRECTORY)
sys.dont_write_bytecode = True

import arms  # noqa: E402
import chart  # noqa: E402
import demo  # noqa: E402
import run_redis  # noqa: E402
import run_service  # noqa: E402
import sampler  # noqa: E402
import service  # noqa: E402

GLIBC = arms.Arm("glibc", None)
PYTHON = "/usr/bin/python3"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ALL_PHASES = [(0.0, "start"), (0.5, "burst"), (3.0, "drained"), (4.0, "silent")]


def make_run(name="glibc", curve=lambda t: 10 + 20 * t, seconds=8.0, phases=ALL_PHASES):
    samples = [sampler.Sample(n / 10, curve(n / 10), n / 100, 100 * n) for n in range(round(seconds * 10) + 1)]
    return arms.Run(name, samples, list(phases), "Pss", "a note")


def make_empty_run():
    return arms.Run("empty", [], [], "Pss", "")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid):
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", encoding="utf-8") as stat:
            if int(stat.read().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry))
    return found


def wait_until(condition, seconds=10):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def harmless_library(directory):
    """A real shared library to preload, under a path with a space in it."""
    source = next(path for path in arms.mapped_files(os.getpid()) if "/libz" in path or "/libexpat" in path)
    folder = os.path.join(directory, "a folder")
    os.mkdir(folder)
    return shutil.copy(source, os.path.join(folder, "lib harmless.so"))


class ChartTest(unittest.TestCase):
    def test_fits_every_width(self):
        for glyphs in (chart.UNICODE, chart.ASCII):
            for width in range(chart.NARROWEST_PANEL, 161):
                lines = chart.render_charts([make_run(), make_run("neap", lambda t: 5.0)], width, glyphs)
                self.assertLessEqual(max(map(len, lines)), width)
                self.assertGreater(max(map(len, lines)), width * 0.85)

    def test_side_by_side_when_wide_and_stacked_when_narrow(self):
        runs = [make_run(), make_run("neap")]
        wide = chart.render_charts(runs, 100, chart.UNICODE)
        narrow = chart.render_charts(runs, 50, chart.UNICODE)
        self.assertTrue(any("glibc" in line and "neap" in line for line in wide))
        self.assertFalse(any("glibc" in line and "neap" in line for line in narrow))
        self.assertGreater(len(narrow), 1.8 * len(wide))

    def test_ascii_has_ascii_only_and_the_same_shape(self):
        runs = [make_run(), make_run("neap")]
        plain = chart.render_charts(runs, 100, chart.ASCII)
        blocks = chart.render_charts(runs, 100, chart.UNICODE)
        self.assertTrue("\n".join(plain).isascii())
        self.assertFalse("\n".join(blocks).isascii())
        self.assertEqual(len(plain), len(blocks))
        self.assertIn("#####", "\n".join(plain))

    def test_height_follows_the_values_on_common_axes(self):
        high, low = make_run("high", lambda t: 200.0), make_run("low", lambda t: 100.0)
        lines = chart.render_charts([high, low], 100, chart.ASCII)[1 : chart.HEIGHT + 1]
        full = [[line[part].count("#") > 20 for line in lines] for part in (slice(50), slice(50, None))]
        self.assertEqual(sum(full[0]), chart.HEIGHT)
        self.assertEqual(sum(full[1]), chart.HEIGHT // 2)
        self.assertTrue(lines[0].startswith("200 +"))
        self.assertTrue(lines[chart.HEIGHT // 2].startswith("100 +"))

    def test_small_but_not_zero_shows(self):
        rows = chart.fill_rows([0.0, 0.1, 1000.0, None], 1000, chart.UNICODE)
        self.assertEqual([row[0] for row in rows], [" "] * chart.HEIGHT)
        self.assertEqual([row[1] for row in rows], [" "] * (chart.HEIGHT - 1) + ["▁"])
        self.assertEqual([row[2] for row in rows], ["█"] * chart.HEIGHT)
        self.assertEqual([row[3] for row in rows], [" "] * chart.HEIGHT)

    def test_columns_keep_the_highest_and_fill_gaps(self):
        samples = [sampler.Sample(t, mb, 0, 0) for t, mb in ((0, 1), (0.4, 7), (0.9, 3), (3.0, 5))]
        self.assertEqual(chart.column_values(samples, 6, 6.0), [7, 7, 7, 5, None, None])

    def test_phases_stand_under_their_beginnings(self):
        rows = chart.phase_labels(ALL_PHASES, 40, 8.0, chart.ASCII)
        for start, name in ALL_PHASES:
            (column,) = [row.index("|" + name) for row in rows if "|" + name in row]
            self.assertEqual(column, int(start / 8.0 * 40))
        self.assertEqual(len(rows), 2)

    def test_panels_have_the_exact_width(self):
        for run in (make_run("a long name " * 10), make_run(phases=[(7.9, "at the very end")]), make_empty_run()):
            lines = chart.render_panel(run, 44, 8.0, 50, 200, chart.UNICODE)
            self.assertEqual({len(line) for line in lines}, {44})

    def test_seconds_are_not_cut(self):
        for columns in range(20, 80):
            row = chart.second_labels(columns, 20.0)
            self.assertEqual(len(row), columns)
            self.assertLessEqual(set(row.split()), {"0", "s", "5", "10", "15", "20"})

    def test_axis_steps_are_round(self):
        steps = [chart.tick_step(span, 5) for span in (1, 9, 10, 101, 240, 260, 4000)]
        self.assertEqual(steps, [0.2, 2, 2, 50, 50, 100, 1000])

    def test_no_samples(self):
        for other in (make_run(), make_empty_run()):
            text = "\n".join(chart.render_charts([other, make_empty_run()], 100, chart.UNICODE))
            self.assertIn("no samples", text)
        self.assertEqual(chart.render_table([make_empty_run()])[1].split(), ["empty", "-", "-", "-", "-", "-"])

    def test_table(self):
        run = make_run(curve=lambda t: 100.0 if t < 4.5 else 60.0 if t < 6.5 else 20.0)
        header, row = chart.render_table([run])
        self.assertEqual(len(header), len(row))
        self.assertEqual(row.split(), ["glibc", "100.0", "60.0", "20.0", "0.80", "8,000"])

    def test_table_without_enough_silence(self):
        row = chart.render_table([make_run(seconds=5.5)])[1].split()
        self.assertNotEqual(row[2], "-")
        self.assertEqual(row[3], "-")


class SamplerTest(unittest.TestCase):
    GROWING = (
        "import mmap, sys, time\n"
        "print('small', flush=True); sys.stdin.readline()\n"
        "area = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "for offset in range(0, 64 << 20, 4096): area[offset] = 1\n"
        "print('large', flush=True); sys.stdin.readline()\n"
        "area.madvise(mmap.MADV_FREE)\n"
        "print('lazily free', flush=True); sys.stdin.readline()\n"
        "area.madvise(mmap.MADV_DONTNEED)\n"
        "print('small', flush=True); sys.stdin.readline()\n"
    )

    def start(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        child = subprocess.Popen([PYTHON, "-c", self.GROWING], text=True, bufsize=1, **pipes)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        self.assertEqual(child.stdout.readline(), "small\n")
        return child

    def step(self, child, expected):
        child.stdin.write("\n")
        self.assertEqual(child.stdout.readline(), expected + "\n")

    def check_curve(self, watch, child):
        def settle():
            count = len(watch.samples)
            self.assertTrue(wait_until(lambda: len(watch.samples) >= count + 2))
            return watch.samples[-1]

        watch.start()
        self.addCleanup(watch.stop)
        small = settle()
        self.step(child, "large")
        large = settle()
        self.step(child, "lazily free")
        lazily_free = settle()
        self.step(child, "small")
        small_again = settle()
        self.assertAlmostEqual(large.mb - small.mb, 67.1, delta=3)
        self.assertAlmostEqual(lazily_free.mb, large.mb, delta=3)
        self.assertAlmostEqual(small_again.mb, small.mb, delta=3)
        self.assertGreaterEqual(large.faults - small.faults, 500)  # less than 16384 with huge pages
        self.assertGreaterEqual(large.cpu_seconds, small.cpu_seconds)

    def test_pss_of_a_child(self):
        child = self.start()
        watch = sampler.Sampler(child.pid, interval=0.02)
        self.assertEqual(watch.measure, "Pss")
        self.check_curve(watch, child)

    def test_statm_where_smaps_rollup_is_missing(self):
        child = self.start()
        with mock.patch.object(sampler, "pss_bytes", side_effect=FileNotFoundError):
            watch = sampler.Sampler(child.pid, interval=0.02)
        self.assertEqual(watch.measure, "Rss")
        self.check_curve(watch, child)

    def test_rate_and_phases(self):
        child = self.start()
        watch = sampler.Sampler(child.pid, interval=0.05)
        watch.start()
        time.sleep(0.5)
        watch.begin_phase("later")
        watch.stop()
        self.assertFalse(watch.is_alive())
        later = sampler.phase_start(watch.phases, "later")
        self.assertAlmostEqual(later, 0.5, delta=0.2)
        self.assertGreater(len(watch.samples), 0.6 * later / 0.05)
        self.assertLess(len(watch.samples), later / 0.05 + 3)
        self.assertIsNone(sampler.phase_start(watch.phases, "never"))

    def test_ends_with_the_child(self):
        for measure in ("pss_bytes", "rss_bytes"):
            child = self.start()
            with mock.patch.object(sampler, "pss_bytes", getattr(sampler, measure)):
                watch = sampler.Sampler(child.pid, interval=0.02)
            watch.start()
            child.kill()  # it stays a zombie: nobody waits for it yet
            self.assertTrue(wait_until(lambda: not watch.is_alive(), 2), measure)
            watch.stop()

    def test_cpu_time_counts(self):
        before = sampler.cpu_and_faults(os.getpid())
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        self.assertGreaterEqual(sampler.cpu_and_faults(os.getpid())[0], before[0] + 0.05)


class ServiceTest(unittest.TestCase):
    def test_reports(self):
        arguments = ["--requests", "300", "--silence", "0.1", "--seed", "7", "--drain", "0"]
        command = [PYTHON, "-B", run_service.SERVICE, *arguments]
        lines = subprocess.run(command, capture_output=True, check=True, text=True, timeout=15).stdout.splitlines()
        reports = [json.loads(line) for line in lines]
        self.assertEqual([r["phase"] for r in reports[:-1]], ["start", "burst", "drained", "silent", "end"])
        self.assertEqual((reports[-1]["requests"], reports[-1]["kept"], reports[-1]["intact"]), (300, 3, True))
        self.assertGreater(reports[-1]["kept_bytes"], 3 * 1000)

    def work(self, seed):
        work = service.Service(300, threads=2, seed=seed)
        self.addCleanup(work.close)
        work.burst()
        self.assertEqual(len(work.in_flight), 300)
        work.drain(0)
        self.assertEqual(work.in_flight, {})
        return work

    def test_survivors_are_the_chosen_and_random(self):
        first, second = self.work(1), self.work(2)
        self.assertEqual(first.sessions.keys(), first.survivors)
        self.assertEqual(len(first.survivors), 3)
        self.assertNotEqual(first.survivors, second.survivors)
        self.assertTrue(first.intact())

    def test_damage_is_seen(self):
        work = self.work(1)
        number, document = next(iter(work.sessions.items()))
        document["items"][0]["price"] += 1
        self.assertFalse(work.intact())
        document["items"][0]["price"] -= 1
        self.assertTrue(work.intact())
        del work.sessions[number]
        self.assertFalse(work.intact())

    def test_deep_size_counts_each_object_once(self):
        shared = ["y" * 1000]
        once = service.deep_size({"a": shared}, set())
        twice = service.deep_size({"a": shared, "b": shared}, set())
        self.assertGreater(once, 1000)
        self.assertLess(twice - once, 500)


class ArmsTest(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory())
        self.workspace = self.enterContext(arms.Workspace())

    def measure_service(self, arm, *extra):
        return run_service.measure(arm, self.workspace, 0.3, ("--requests", "100", "--drain", "0", *extra))

    def test_preload_from_a_path_with_spaces(self):
        run = self.measure_service(arms.Arm("copy", harmless_library(self.directory)))
        self.assertEqual([name for _, name in run.phases], ["start", "burst", "drained", "silent"])
        self.assertGreater(len(run.samples), 5)
        self.assertIn("1 of 100 requests", run.note)

    def test_preload_that_does_not_take(self):
        library = os.path.join(self.directory, "not-a-library.so")
        with open(library, "w", encoding="ascii") as file:
            file.write("text")
        with self.assertRaisesRegex(arms.DemoError, "(?s)not-a-library.so is not mapped.*cannot be preloaded"):
            self.measure_service(arms.Arm("text", library))

    def test_service_that_dies(self):
        with self.assertRaisesRegex(arms.DemoError, "(?s)service under glibc failed, exit status 2.*unrecognized"):
            self.measure_service(GLIBC, "--nonsense")

    def test_service_that_hangs(self):
        with mock.patch.object(run_service, "DEADLINE", 0.3):
            with self.assertRaisesRegex(arms.DemoError, "longer than 0.3 s"):
                self.measure_service(GLIBC)

    def test_damaged_sessions_are_an_error(self):
        with mock.patch.object(run_service, "read_reports", return_value=[{"intact": False}]):
            with self.assertRaisesRegex(arms.DemoError, "damaged under glibc"):
                self.measure_service(GLIBC)

    def test_environment(self):
        callers = {"LD_PRELOAD": "x", "PYTHONMALLOC": "debug", "MALLOC_ARENA_MAX": "1", "NEAP_OPTIONS": "y", "A": "b"}
        with mock.patch.dict(os.environ, callers, clear=True):
            self.assertEqual(arms.clean_environment(), {"NEAP_OPTIONS": "y", "A": "b"})
            glibc = run_service.environment(GLIBC, self.workspace)
            neap = run_service.environment(arms.Arm("neap", "/a b/lib.so"), self.workspace)
        self.assertEqual((glibc["PYTHONMALLOC"], neap["PYTHONMALLOC"]), ("malloc", "malloc"))
        self.assertNotIn("LD_PRELOAD", glibc)
        self.assertEqual(os.readlink(neap["LD_PRELOAD"]), "/a b/lib.so")
        self.assertEqual(run_redis.environment(GLIBC, self.workspace)["LD_PRELOAD"], "libc.so.6")

    def test_workspace_path_is_fit_for_the_loader(self):
        odd = os.path.join(self.directory, "a: b")
        os.mkdir(odd)
        with mock.patch.object(tempfile, "gettempdir", return_value=odd), arms.Workspace() as workspace:
            self.assertNotRegex(workspace.path, "[: $]")
            self.assertTrue(os.path.isdir(workspace.path))
        self.assertFalse(os.path.exists(workspace.path))

    def test_machine_wide_preload_is_an_error(self):
        preload_file = os.path.join(self.directory, "ld.so.preload")
        arms.check_not_preloaded_everywhere("/x/libneap.so", preload_file)
        with open(preload_file, "w", encoding="ascii") as file:
            file.write("/usr/lib/libother.so:/usr/lib/libneap.so\n")
        with self.assertRaisesRegex(arms.DemoError, "into every process"):
            arms.check_not_preloaded_everywhere("/x/libneap.so", preload_file)
        arms.check_not_preloaded_everywhere("/x/libthird.so", preload_file)

    def test_leaving_kills(self):
        with arms.Child("sleeper", ["sleep", "60"], dict(os.environ), self.workspace.file("log")) as child:
            self.assertTrue(alive(child.pid))
        self.assertFalse(alive(child.pid))

    def test_no_orphans_when_we_are_killed(self):
        script = (
            "import os, sys, time; sys.path.insert(0, sys.argv[1]); import arms\n"
            "child = arms.Child('sleeper', ['sleep', '60'], dict(os.environ), sys.argv[2])\n"
            "print(child.pid, flush=True); time.sleep(60)\n"
        )
        command = [PYTHON, "-B", "-c", script, DEMO_DIRECTORY, self.workspace.file("log")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
            pid = int(parent.stdout.readline())

            def sleeps():
                with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                    return comm.read() == "sleep\n"
                return False

            self.assertTrue(wait_until(sleeps))
            parent.kill()
        self.assertTrue(wait_until(lambda: not alive(pid), 5))


class InterposedTest(unittest.TestCase):
    def info(self, in_jemalloc, allocator="jemalloc-5.3.0"):
        return {"used_memory": "1000", "allocator_allocated": str(in_jemalloc), "mem_allocator": allocator}

    def test_by_the_count_of_jemalloc(self):
        run_redis.check_interposed(self.info(20), GLIBC)
        with self.assertRaisesRegex(arms.DemoError, "own jemalloc in the glibc arm"):
            run_redis.check_interposed(self.info(990), GLIBC)

    def test_not_where_jemalloc_is_the_arm_or_not_linked(self):
        run_redis.check_interposed(self.info(990), arms.Arm("jemalloc", "/usr/lib/libjemalloc.so.2"))
        run_redis.check_interposed(self.info(1000, "libc"), GLIBC)


@unittest.skipIf(run_redis.missing_program(), "redis is not installed")
class RedisTest(unittest.TestCase):
    def setUp(self):
        self.workspace = self.enterContext(arms.Workspace())

    def server(self, arm=GLIBC):
        return self.enterContext(run_redis.start_server(arm, self.workspace))

    def client(self, server):
        return self.enterContext(run_redis.connect(server, self.workspace))

    def fill(self, client, count):
        for number in range(count):
            client.command("SET", f"key:{number:06d}", b"v" * 1000)

    def test_glibc_arm_is_glibc(self):
        client = self.client(self.server())
        self.fill(client, 3000)
        time.sleep(0.3)
        run_redis.check_interposed(client.info("memory"), GLIBC)

    def test_without_preload_jemalloc_is_noticed(self):
        with mock.patch.object(run_redis, "environment", return_value=arms.clean_environment()):
            client = self.client(self.server())
        self.fill(client, 3000)
        if not client.info("memory")["mem_allocator"].startswith("jemalloc"):
            self.skipTest("this redis is not linked with jemalloc")
        time.sleep(0.3)
        with self.assertRaisesRegex(arms.DemoError, "own jemalloc"):
            run_redis.check_interposed(client.info("memory"), GLIBC)

    def test_measure(self):
        library = harmless_library(self.enterContext(tempfile.TemporaryDirectory()))
        not_a_library = os.path.join(os.path.dirname(library), "text.so")
        with open(not_a_library, "w", encoding="ascii") as file:
            file.write("text")
        with mock.patch.multiple(run_redis, KEYS=4000, LOADS=((10, 5000), (1000, 5000))):
            run = run_redis.measure(GLIBC, self.workspace, 0.3)
            with self.assertRaisesRegex(arms.DemoError, "(?s)text.so is not mapped.*cannot be preloaded"):
                with arms.Workspace() as workspace:
                    run_redis.measure(arms.Arm("text", not_a_library), workspace, 0.3)
            with self.assertRaisesRegex(arms.DemoError, "own jemalloc in the harmless arm"):
                with arms.Workspace() as workspace:  # this one brings no malloc
                    run_redis.measure(arms.Arm("harmless", library), workspace, 0.3)
        self.assertEqual([name for _, name in run.phases], ["start", "burst", "drained", "silent"])
        self.assertGreater(sampler.peak_mb(run.samples), run.samples[0].mb + 2)
        self.assertRegex(run.note, r"^1[78]\d of 3[5-7]\d\d keys kept")

    def test_deletes_a_random_95_percent(self):
        client = self.client(self.server())
        self.fill(client, 1200)
        self.assertEqual(run_redis.delete_most(client, random.Random(1)), (1200, 60))
        kept = sorted(int(key.partition(b":")[2]) for key in client.all_keys())
        self.assertEqual(len(kept), 60)
        self.assertLess(kept[0], 200)
        self.assertGreater(kept[-1], 1000)

    def test_loads_mixed_sizes(self):
        server = self.server()
        client = self.client(server)
        with mock.patch.multiple(run_redis, KEYS=500, LOADS=((10, 2000), (3000, 2000))):
            run_redis.load(server, self.workspace, time.monotonic() + 20)
        lengths = {client.command("STRLEN", key) for key in client.all_keys()}
        self.assertEqual(lengths, {10, 3000})
        self.assertGreater(client.command("DBSIZE"), 450)

    def test_load_that_takes_too_long(self):
        with self.assertRaisesRegex(arms.DemoError, "loading redis took longer"):
            run_redis.load(self.server(), self.workspace, time.monotonic())

    def test_errors_of_redis_are_errors(self):
        with self.assertRaisesRegex(arms.DemoError, "redis answered: ERR"):
            self.client(self.server()).command("NO-SUCH-COMMAND")

    def check_death(self, *patched):
        with mock.patch.object(*patched), mock.patch.object(run_redis, "load"):
            with self.assertRaisesRegex(arms.DemoError, "(?s)redis-server under glibc failed.*signal 11"):
                run_redis.measure(GLIBC, self.workspace, 1)

    def test_server_that_dies_at_rest(self):
        start = sampler.Sampler.start

        def start_and_kill(watch):
            start(watch)
            os.kill(watch.pid, signal.SIGSEGV)

        self.check_death(sampler.Sampler, "start", start_and_kill)

    def test_server_that_dies_at_work(self):
        def kill_and_ask(client, rng):
            os.kill(int(client.info("server")["process_id"]), signal.SIGSEGV)
            while True:
                client.command("PING")

        self.check_death(run_redis, "delete_most", kill_and_ask)

    def test_server_that_does_not_start(self):
        os.mkdir(self.workspace.file("redis.sock"))
        with self.assertRaisesRegex(arms.DemoError, "(?s)redis-server under glibc failed, exit status 1.*[Uu]nix"):
            self.client(self.server())


class MainTest(unittest.TestCase):
    def setUp(self):
        self.library = harmless_library(self.enterContext(tempfile.TemporaryDirectory()))
        for number in STOP_SIGNALS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def run_main(self, *arguments, redis_missing=None, failing=None):
        order = []

        def fake(program):
            def measure(arm, workspace, silence):
                order.append((program, arm.name))
                if program == failing:
                    raise arms.DemoError("the program died")
                return make_run(arm.name)._replace(note=f"note of {program}")

            return measure

        out, err = io.StringIO(), io.StringIO()
        with mock.patch.object(run_service, "measure", fake("python")), mock.patch.object(
            run_redis, "measure", fake("redis")
        ), mock.patch.object(run_redis, "missing_program", lambda: redis_missing):
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = demo.main(["--neap", self.library, *arguments])
        return status, out.getvalue(), err.getvalue(), order

    def test_both_measured(self):
        status, out, err, order = self.run_main("--name", "other")
        self.assertEqual(status, 0)
        glibc = os.confstr("CS_GNU_LIBC_VERSION")
        expected = [("python", glibc), ("python", "other"), ("redis", "other"), ("redis", glibc)]
        self.assertEqual(order, expected)
        self.assertEqual(out.count("1 s silent"), 2)
        self.assertIn("PYTHONMALLOC=malloc", out)
        self.assertIn("note of redis", out)
        for step in ("[1/4]", "[2/4]", "[3/4]", "[4/4]"):
            self.assertIn(step, err)

    def test_missing_redis_leaves_the_python_part(self):
        status, out, err, order = self.run_main(redis_missing="redis-server")
        self.assertEqual(status, 1)
        self.assertEqual([program for program, _ in order], ["python", "python"])
        self.assertEqual(out.count("1 s silent"), 1)
        self.assertIn("redis-server is not installed", err)

    def test_only_one_program(self):
        status, _, _, order = self.run_main("--only", "python", redis_missing="redis-server")
        self.assertEqual((status, len(order)), (0, 2))

    def test_failure_ends_it(self):
        status, _, err, order = self.run_main(failing="redis")
        self.assertEqual((status, len(order)), (1, 3))
        self.assertIn("error: the program died", err)

    def test_missing_library(self):
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(demo.main(["--neap", "/nowhere/libneap.so"]), 1)
        self.assertIn("/nowhere/libneap.so does not exist", err.getvalue())

    def test_machine_wide_preload(self):
        err = io.StringIO()
        error = arms.DemoError("it is everywhere")
        with mock.patch.object(demo, "check_not_preloaded_everywhere", side_effect=error):
            with contextlib.redirect_stderr(err):
                self.assertEqual(demo.main(["--neap", self.library]), 1)
        self.assertIn("it is everywhere", err.getvalue())

    def test_locale(self):
        for environment, expected in (
            (b"LANG=C.UTF-8\0", True),
            (b"LANG=de_DE.utf8@euro\0", True),
            (b"LANG=en_US\0", False),
            (b"", False),
            (b"LC_ALL=C\0LANG=C.UTF-8\0", False),
            (b"LC_ALL=\0LC_CTYPE=en_US.UTF-8\0LANG=C\0", True),
        ):
            self.assertEqual(demo.locale_is_utf8(environment), expected, environment)

    def test_width(self):
        for columns, expected in (("72", 72), ("500", demo.WIDEST)):
            with mock.patch.dict(os.environ, {"COLUMNS": columns}):
                self.assertEqual(demo.chart_width(), expected)
        with mock.patch.dict(os.environ), open(os.devnull, "w", encoding="ascii") as not_a_terminal:
            os.environ.pop("COLUMNS", None)
            with mock.patch.object(sys, "__stdout__", not_a_terminal):
                self.assertEqual(demo.chart_width(), 100)

    def test_interrupt_leaves_no_children(self):
        command = [PYTHON, "-B", os.path.join(DEMO_DIRECTORY, "demo.py"), "--neap", self.library, "--only", "python"]
        for number in STOP_SIGNALS:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                self.assertTrue(wait_until(lambda pid=process.pid: children_of(pid)))
                (child,) = children_of(process.pid)
                self.assertNotEqual(os.getpgid(child), os.getpgid(process.pid))  # Ctrl-C is not for the children
                time.sleep(0.3)
                process.send_signal(number)
                _, err = process.communicate(timeout=5)
            self.assertEqual(process.returncode, 130)
            self.assertIn("interrupted", err)
            self.assertNotIn("Traceback", err)
            self.assertFalse(alive(child))


if __name__ == "__main__":
    unittest.main()
