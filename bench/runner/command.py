"""A workload's command as a child process, with all it starts, and how it ended."""

import ctypes
import os
import select
import signal
import subprocess
import time

from .errors import BenchError

# Settings of the caller's shell that would change what an allocator, or a language's runtime, does.
UNWANTED_PREFIXES = ("LD_", "MALLOC_", "GLIBC_TUNABLES", "PYTHON", "MIMALLOC_", "TCMALLOC_", "NEAP_")
PR_SET_PDEATHSIG = 1
TIME_TO_STOP = 5  # seconds, for a command that is asked to end

prctl = ctypes.CDLL(None).prctl


def clean_environment():
    return {key: value for key, value in os.environ.items() if not key.startswith(UNWANTED_PREFIXES)}


class Command:
    """Runs argv in a session of its own. Leaving its context ends it; should we be killed, it is asked to end."""

    def __init__(self, argv, environment, directory, procs_file=None):
        self.usage = self.status = None
        self._stdout, self._stderr = (os.path.join(directory, name) for name in ("stdout", "stderr"))
        self.started = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(argv, environment, procs_file)
        self._end = os.pidfd_open(self.pid)
        self._poll = select.poll()
        self._poll.register(self._end, select.POLLIN)

    def _become(self, argv, environment, procs_file):
        try:
            os.setsid()
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            if procs_file:
                with open(procs_file, "w", encoding="ascii") as procs:
                    procs.write("0")
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open(self._stdout, flags, 0o600), 1)
            os.dup2(os.open(self._stderr, flags, 0o600), 2)
            os.closerange(3, 256)
            os.execve(argv[0], argv, environment)
        except OSError as error:
            os.write(2, f"cannot start {argv[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.ended():
            self._signal(signal.SIGTERM)
            until = time.monotonic() + TIME_TO_STOP
            while not self.ended() and time.monotonic() < until:
                self.wait(0.1)
        self._signal(signal.SIGKILL)  # what it has left behind, too
        while not self.ended():
            self.wait(1)
        os.close(self._end)

    def _signal(self, number):
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass

    def ended(self):
        """Whether it has; then `status` is its exit status, negative for a signal, and `usage` what it used."""
        if self.status is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.status, self.usage = os.waitstatus_to_exitcode(status), usage
        return self.status is not None

    def wait(self, seconds):
        """Until it ends, at most so long; answers whether it has."""
        return bool(self._poll.poll(seconds * 1000)) and self.ended()

    def _text(self, path):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except FileNotFoundError:
            return ""

    def output(self):
        return self._text(self._stdout)

    def last_words(self, lines=3):
        return "; ".join(self._text(self._stderr).splitlines()[-lines:])

    def how_it_ended(self):
        if self.status < 0:
            reason = f"killed by {signal.Signals(-self.status).name}"
        else:
            reason = f"exit status {self.status}"
        words = self.last_words()
        return f"{reason}: {words}" if words else reason


def read_lines(argv):
    """What a program prints that is asked to list something."""
    try:
        done = subprocess.run(argv, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{' '.join(argv)}: {error}") from error
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise BenchError(f"{' '.join(argv)}: exit status {done.returncode}" + "".join(": " + word for word in words))
    return done.stdout.decode(errors="replace").splitlines()
