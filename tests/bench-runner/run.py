#!/usr/bin/python3
"""The tests of `neap bench`, on workloads and allocators with known answers that are compiled here.

usage: run.py --neap PATH [unittest arguments]. Ends with "N passed, N failed". What needs a package or a right that is
missing is skipped, with the reason.
"""

import argparse
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(os.path.dirname(HERE)), "bench")]
import support  # noqa: E402

MODULES = (
    "figures_test",
    "expressions_test",
    "plan_test",
    "verdicts_test",
    "limits_test",
    "sampler_test",
    "known_answers_test",
    "report_test",
    "document_test",
    "bad_input_test",
    "interruption_test",
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--neap", required=True)
    arguments, names = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="neap-bench-test-") as directory:
        support.configure(arguments.neap, directory)
        suite = unittest.defaultTestLoader.loadTestsFromNames(names or MODULES)
        result = unittest.TextTestRunner(verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
