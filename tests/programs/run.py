"""Real programs with neap as their malloc: that what they do stays right, and that neap is what serves them.

Run as: /usr/bin/python3 tests/programs/run.py --library PATH [--long] [--jobs N] [--options STRING] [--list] [NAME...]
A NAME is a test, or the part of its name before a dot. Prints a line a test, and last how many passed and failed;
exit status 1 where one failed. A program that is not installed is a failure. Needs gcc, g++ and binutils besides the
programs; nothing outside temporary directories and 127.0.0.1 is touched. As root, postgres and memcached run as
users of their own.

Every test runs in a process of its own, which is the subreaper of all that the test starts and ends what is left of it.
"""

import argparse
import ctypes
import importlib
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True

import support  # noqa: E402
from takeover import Library  # noqa: E402

# In the order in which they are started: Python's own tests, which mostly wait, first.
MODULES = ["cpython", "postgres", "redis", "nginx", "memcached", "compilers", "cxx", "git", "sqlite", "perl", "node",
           "pipelines", "stress_ng"]
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
TIME_TO_CLEAN_UP = 20  # seconds
LOG_BYTES = 8000  # of a failure; what is written at once to a pipe


class Ended(BaseException):
    """Told to end by a signal."""


def end(number, frame):
    signal.signal(number, signal.SIG_IGN)
    raise Ended


def prctl(option, value):
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def work(test, settings):
    """The test's process: runs it, cleans up, and answers what came of it, as JSON."""
    signal.signal(signal.SIGTERM, end)
    # What a shell starts in the background ignores it, and so would the programs: CPython's tests of it then run twice.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    directory, why, notes = None, None, []
    try:
        directory = tempfile.mkdtemp(prefix=f"neap-{test.name}-")
        os.chmod(directory, 0o755)  # servers change their user
        case = support.Case(settings, directory)
        test.function(case)
        notes = case.notes
        left = support.end_descendants()
        if left:
            why = "left processes running: " + "; ".join(left)
    except support.Failed as failed:
        why = str(failed)
    except Ended:
        why = "told to end, or not finished in time"
    except BaseException:
        why = traceback.format_exc()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        support.end_descendants(grace=0)
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
    return json.dumps({"why": why and why[:LOG_BYTES], "notes": notes}).encode()


class Running:
    def __init__(self, test, settings):
        self.test, self.start = test, time.monotonic()
        self.timeout = test.timeout * settings.patience()
        self.deadline = self.start + self.timeout
        self.answer = b""
        self.reader, writer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.reader)
                os.write(writer, work(test, settings))
            finally:
                os._exit(0)
        os.close(writer)

    def read(self):
        """Whether it is finished."""
        data = os.read(self.reader, 65536)
        self.answer += data
        return not data

    def hurry(self):
        """Ends it where it is over its time."""
        if time.monotonic() > self.deadline:
            late = self.deadline > self.start + self.timeout
            os.kill(self.pid, signal.SIGKILL if late else signal.SIGTERM)
            self.deadline += TIME_TO_CLEAN_UP

    def result(self):
        os.close(self.reader)
        os.waitpid(self.pid, 0)
        seconds = time.monotonic() - self.start
        try:
            answer = json.loads(self.answer)
        except ValueError:
            answer = {"why": "its process was killed", "notes": []}
        return seconds, answer["why"], answer["notes"]


def print_result(name, seconds, why, notes):
    if why is None:
        print(f"ok {name} ({seconds:.1f} s)" + "".join(f"; {note}" for note in notes), flush=True)
    else:
        first, *rest = why.splitlines() or ["?"]
        print(f"FAIL {name}: {first}", *("    " + line for line in rest), sep="\n", flush=True)


def run_all(tests, settings, jobs):
    """Answers how many failed."""
    waiting, running, failed = list(tests), [], 0
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(Running(waiting.pop(0), settings))
                    selector.register(running[-1].reader, selectors.EVENT_READ, running[-1])
                for key, _ in selector.select(timeout=1):
                    if key.data.read():
                        selector.unregister(key.data.reader)
                        running.remove(key.data)
                        seconds, why, notes = key.data.result()
                        failed += why is not None
                        print_result(key.data.test.name, seconds, why, notes)
                for one in running:
                    one.hurry()
                if not running:
                    support.end_descendants(grace=0)  # of a worker that had to be killed
        finally:
            for one in running:
                os.kill(one.pid, signal.SIGTERM)
            for one in running:
                while not one.read():
                    pass
                one.result()
    return failed


def choose(names, long):
    if not names:
        return [test for test in support.TESTS.values() if long or not test.long]
    chosen = []
    for name in names:
        found = [test for test in support.TESTS.values() if test.name == name or test.name.startswith(name + ".")]
        if not found:
            sys.exit(f"run.py: there is no test {name}; --list shows them")
        exact = [test for test in found if test.name == name]
        chosen += [test for test in exact or found if test not in chosen and (exact or long or not test.long)]
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", metavar="PATH", help="libneap.so")
    parser.add_argument("--long", action="store_true", help="more tests, and larger ones")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="tests at a time (2)")
    parser.add_argument("--options", metavar="STRING", help="neap's, such as page_size:65536,sized_check:on")
    parser.add_argument("--list", action="store_true", help="only print the tests' names")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    for module in MODULES:
        importlib.import_module(module)
    tests = choose(arguments.names, arguments.long)
    if arguments.list:
        print("\n".join(test.name for test in tests))
        return 0
    if arguments.library is None or not os.path.isfile(arguments.library):
        parser.error(f"--library: there is no file {arguments.library}")
    sys.stdout.reconfigure(errors="backslashreplace")  # logs hold anything
    signal.signal(signal.SIGTERM, end)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    # A copy that nobody builds anew meanwhile, and that every user may read.
    directory = tempfile.mkdtemp(prefix="neap-library-")
    try:
        os.chmod(directory, 0o755)
        copy = shutil.copy(arguments.library, os.path.join(directory, "libneap.so"))
        os.chmod(copy, 0o755)
        options = [arguments.options] if arguments.options else []
        settings = support.Settings(Library(copy), arguments.long, options)
        failed = run_all(tests, settings, arguments.jobs)
    except ValueError as error:
        parser.error(f"{arguments.library}: {error}")
    except (KeyboardInterrupt, Ended):
        print("ended early", flush=True)
        return 1
    finally:
        shutil.rmtree(directory)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
