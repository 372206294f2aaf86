"""An interrupted bake-off keeps what it has and goes on where it was."""

import os
import signal
import subprocess
import time
import unittest

import support

WHAT = ("--workloads", "cycles", "--allocators", "glibc,neap", "--repeats", "2")


# A shell starts what it puts into the background with SIGINT ignored, which children inherit. A handler they do not.
signal.signal(signal.SIGINT, signal.default_int_handler)


def started(out, *arguments):
    command = support.bench_command("--program", support.workloads(), *arguments, "--out", support.path(out))
    return subprocess.Popen(
        command, env=support.environment(), cwd=support.TMP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds=100):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError("waited in vain")
        time.sleep(0.05)


def lines_of(path):
    try:
        with open(path, "rb") as file:
            return file.read().count(b"\n")
    except FileNotFoundError:
        return 0


class Interrupted(unittest.TestCase):
    def test_keeps_and_resumes(self):
        process = started("resumed", *WHAT)
        runs = support.path("resumed/runs.jsonl")
        wait_for(lambda: lines_of(runs) >= 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
        self.assertEqual(process.returncode, 130, err)
        self.assertRegex(err, r"interrupted after [123] of 4 runs; go on with: neap bench --resume ")
        self.assertTrue(os.path.exists(support.path("resumed/report.html")))
        before = support.results("resumed")["runs"]
        with open(runs, "ab") as file:  # as if it had been killed while it wrote
            file.write(b'{"what":"run","workl')

        done = support.bench("--resume", support.path("resumed"), "--assert", "neap.peak_mb < 100")
        self.assertEqual(done.returncode, 0, done.stderr)
        after = support.results("resumed")["runs"]
        self.assertEqual(after[: len(before)], before)
        self.assertEqual(
            sorted((run["allocator"], run["repeat"]) for run in after),
            [("glibc", 1), ("glibc", 2), ("neap", 1), ("neap", 2)],
        )
        again = support.bench("--resume", support.path("resumed"))
        self.assertIn("0 runs:", again.stderr)

    def test_nothing_outlives_us(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            name = f"killed-{number.value}"
            program = support.compiled("workloads.c", "workloads-" + name)
            command = support.bench_command(
                "--program", program, "--workloads", "hang", "--allocators", "glibc", "--out", support.path(name)
            )
            process = subprocess.Popen(
                command,
                env=support.environment(),
                cwd=support.TMP,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_for(lambda: self.running(program))
            process.send_signal(number)
            process.wait(30)
            wait_for(lambda: not self.running(program), 5)

    def test_a_workload_may_clean_up(self):
        path, begun, cleaned = (support.path(name) for name in ("tidy", "tidy-began", "tidy-cleaned"))
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                f"""#!/bin/sh
if [ $1 = --list ]; then echo '{{"name":"tidy","kind":"scenario","quick_seconds":1}}'; exit; fi
trap 'touch {cleaned}; exit 1' TERM
touch {begun}
while :; do sleep 0.1; done
"""
            )
        os.chmod(path, 0o700)
        command = support.bench_command("--program", path, "--workloads", "tidy", "--allocators", "glibc")
        process = subprocess.Popen(
            [*command, "--out", support.path("tidy-out")], env=support.environment(), stderr=subprocess.DEVNULL
        )
        wait_for(lambda: os.path.exists(begun))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 130)
        self.assertTrue(os.path.exists(cleaned))

    def running(self, program):
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{entry}/exe") == program:
                    return True
            except OSError:
                continue
        return False

    def test_a_resumed_one_cannot_be_changed(self):
        done = support.bench("--resume", support.path("known"), "--repeats", "3")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--repeats cannot be given with it", done.stderr)

    def test_another_bake_off_is_not_overwritten(self):
        support.bake_off("taken", "cycles", "glibc", "--repeats", "1")
        done = support.bake_off("taken", "cycles", "glibc", "--repeats", "1")
        self.assertEqual(done.returncode, 2)
        self.assertIn("has a bake-off already", done.stderr)

    def test_full_disk(self):
        os.mkdir(support.path("full"))
        process = started("full", *WHAT)
        runs = support.path("full/runs.jsonl")
        wait_for(lambda: lines_of(runs) >= 1)
        os.rename(runs, runs + ".kept")
        os.symlink("/dev/full", runs)
        _, err = process.communicate(timeout=100)
        self.assertEqual(process.returncode, 3, err)
        self.assertIn(f"no space left for {runs}; the runs that are there are kept", err)
        self.assertNotIn("Traceback", err)
        os.unlink(runs)
        os.rename(runs + ".kept", runs)
        done = support.bench("--resume", support.path("full"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(support.results("full")["runs"]), 4)


if __name__ == "__main__":
    unittest.main()
