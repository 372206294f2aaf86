"""Tests of neap-micro: micro_test.py --micro PROGRAM --library libneap.so [unittest's]"""

import argparse
import json
import os
import subprocess
import sys
import unittest

ARGUMENTS = None
KINDS = ("pairs", "batch-lifo", "batch-fifo", "batch-random", "calloc", "aligned", "growth-double", "growth-half",
         "growth-page", "mixed", "cross-thread", "overhead/pairs", "overhead/mixed")
SCOPE_KINDS = ("scope/pairs", "scope/batch-fifo", "scope/request", "scope/enter-leave", "scope/create-end", "scope/freed",
               "scope/destroyed")


def run(*arguments, preload=""):
    return subprocess.run([ARGUMENTS.micro, *arguments], env={**os.environ, "LD_PRELOAD": preload}, text=True,
                          timeout=100, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Micro(unittest.TestCase):
    def test_list(self):
        (row,) = (json.loads(line) for line in run("--list").stdout.splitlines())
        self.assertEqual((row["name"], row["kind"], row["needs"]), ("micro", "micro", []))

    def measure(self, preload):
        result = run("--run", "micro", "--benchmark_format=json", "--benchmark_min_time=0.0001", preload=preload)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_all_run_and_say_under_which_malloc(self):
        for preload, library in (("", "libc.so.6"), (ARGUMENTS.library, os.path.basename(ARGUMENTS.library))):
            with self.subTest(library):
                measured = self.measure(preload)
                self.assertEqual(os.path.basename(measured["context"]["malloc"]), library)
                rows = measured["benchmarks"]
                for kind in KINDS:
                    self.assertTrue([row for row in rows if row["name"].startswith(kind + "/")], kind)
                for kind in SCOPE_KINDS:
                    self.assertEqual(any(row["name"].startswith(kind) for row in rows), preload != "", kind)
                for row in rows:
                    self.assertFalse(row.get("error_occurred"), row)
                    self.assertGreater(row["real_time"], 0.1 if row["time_unit"] == "ns" and "destroyed" not in row["name"] else 0)
                self.assertEqual({row["threads"] for row in rows if row["name"].startswith("mixed/")}, {1, 2, 4, 16})

    def test_bad_arguments(self):
        for arguments, status, message in (
            (("--fast",), 2, "unrecognized command-line flag"),
            (("--run",), 2, "--run takes one name, micro"),
            (("--run", "pairs"), 2, "--run takes one name, micro"),
            (("--benchmark_filter=nothing-like-it",), 1, "Failed to match any benchmarks"),
        ):
            with self.subTest(arguments):
                result = run(*arguments)
                self.assertEqual(result.returncode, status, result)
                self.assertIn(message, result.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for option in ("--micro", "--library"):
        parser.add_argument(option, required=True)
    ARGUMENTS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
