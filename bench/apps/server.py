"""Child processes: the server under test, with the allocator's environment, and helpers without it."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import time

import needs
from errors import Failed

# Settings of the caller's shell that would change what an allocator, or a language's runtime, does.
UNWANTED_PREFIXES = ("LD_", "MALLOC_", "GLIBC_TUNABLES", "PYTHON", "RUBY", "GEM_", "NEAP_", "MIMALLOC_", "TCMALLOC_")
PR_SET_PDEATHSIG = 1
TIME_TO_STOP = 10  # seconds
TIME_TO_START = 60
LONG_LINE = 200  # of a server's log
CLOCK_TICK = os.sysconf("SC_CLK_TCK")

prctl = ctypes.CDLL(None).prctl


INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


def start(argv, **settings):
    """A process that dies with us. What a signal's handler raises in the midst of a fork would be lost: Python's
    modules have functions called there whose exceptions are ignored. So signals wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)

    def in_child():
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        return subprocess.Popen(argv, preexec_fn=in_child, **settings)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def clean_environment():
    kept = {key: value for key, value in os.environ.items() if not key.startswith(UNWANTED_PREFIXES)}
    return {**kept, "PATH": needs.PATH, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"}


def allocator_environment(directory, default_preload=""):
    """The variables that the runner asks for the server under test. `default_preload` is for a server that is linked
    with an allocator of its own, and stands where no other is asked for."""
    library = os.environ.get("NEAP_BENCH_PRELOAD", "") or default_preload
    try:
        variables = json.loads(os.environ.get("NEAP_BENCH_ENV") or "{}")
        if not all(isinstance(text, str) for pair in variables.items() for text in pair):
            raise ValueError("a value is no string")
    except (ValueError, AttributeError) as error:
        raise Failed(f"NEAP_BENCH_ENV is not a JSON object of strings: {error}") from error
    if "/" in library:
        if not os.path.isfile(library):
            raise Failed(f"the allocator's library {library} does not exist")
        if any(c in ": $" or c.isspace() for c in library):  # these separate in LD_PRELOAD, or stand for something
            link = os.path.join(directory, "preload.so")
            if not os.path.islink(link):
                os.symlink(os.path.abspath(library), link)
            library = link
    return {**variables, "LD_PRELOAD": library} if library else variables


def check_preload(child, library):
    """The loader only warns of a library that it cannot preload, so look at what is mapped."""
    if "/" not in library:
        return
    wanted = os.path.realpath(library)
    with open(f"/proc/{child.pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
        if not any(line.rstrip("\n").endswith(wanted) for line in maps):
            raise Failed(f"{wanted} is not mapped in {child.name}: the preload did not take{child.last_words()}")


class Child:
    """A child process. Leaving its context kills it; should we be killed, so is it."""

    def __init__(self, name, argv, environment, directory, pipes=False, output=False):
        self.name = name
        self._log = os.path.join(directory, f"{name}.log")
        with open(self._log, "ab") as log:
            self.process = start(
                argv,
                env=environment,
                cwd=directory,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes or output else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C goes to us alone, and we end the children
            )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

    def last_words(self):
        """To end a message with, which stays one line: the runner shows the last one."""
        with open(self._log, encoding="utf-8", errors="replace") as log:
            lines = [line.strip()[:LONG_LINE] for line in log.read().strip().splitlines()[-3:]]
        return "; it said: " + " / ".join(lines) if lines else " (it said nothing)"

    def how_it_ended(self):
        code = self.process.wait()
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"

    def check_alive(self, grace=0.0):
        """`grace`: seconds in which it may still die, for a server whose connections just broke."""
        until = time.monotonic() + grace
        while self.process.poll() is None:
            if time.monotonic() >= until:
                return
            time.sleep(0.02)
        raise Failed(f"{self.name} died, {self.how_it_ended()}{self.last_words()}")

    def wait_until_open(self, port):
        """Returns when it accepts connections."""
        until = time.monotonic() + TIME_TO_START
        while time.monotonic() < until:
            self.check_alive()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Failed(f"{self.name} did not open port {port} within {TIME_TO_START} s{self.last_words()}")

    def ask(self, **question):
        """Sends a line of JSON to a child with pipes, and answers the one that comes back."""
        try:
            if question:
                self.process.stdin.write(json.dumps(question).encode() + b"\n")
                self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            self.check_alive(grace=TIME_TO_STOP)
            raise Failed(f"{self.name} closed its output{self.last_words()}")
        return json.loads(answer)

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()  # the name, in brackets, may hold spaces
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICK

    def pss_mb(self):
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as rollup:
            return next(int(line.split()[1]) * 1024 / 1e6 for line in rollup if line.startswith("Pss:"))

    def stop(self):
        """Ends a server as an administrator would."""
        self.check_alive()
        if self.process.stdin:
            self.process.stdin.close()
        else:
            self.process.terminate()
        try:
            code = self.process.wait(TIME_TO_STOP)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.name} did not stop within {TIME_TO_STOP} s{self.last_words()}") from error
        if code not in (0, -signal.SIGTERM):
            raise Failed(f"{self.name} stopped badly, {self.how_it_ended()}{self.last_words()}")
