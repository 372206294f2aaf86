"""The command `neap`: every verdict of `neap check` and every error of `neap run`, on small programs compiled here.

Run as: /usr/bin/python3 tests/tools/neap_tool_test.py --neap PATH [--library PATH] [unittest arguments]
Without --library a stand-in that only has the malloc names and a neap_state is used. Stand-ins are also used for
the states that a sound library never shows. What needs root, another architecture's compiler or such is skipped
where that is missing, with the reason.
"""

import argparse
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from neap_tool import support  # noqa: E402

MODULES = ("run_test", "installed_test", "check_process_test", "check_command_test", "damaged_files_test",
           "symbolize_test")


def load_tests(loader, _tests, _pattern):
    return unittest.TestSuite(loader.loadTestsFromName("neap_tool." + module) for module in MODULES)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--neap", required=True)
    parser.add_argument("--library")
    args, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="neap-tool-test-") as directory:
        support.configure(args.neap, args.library, directory)
        unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
