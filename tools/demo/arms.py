"""The two arms of a comparison, and child processes that run under one of them and never outlive us."""

import os
import subprocess
import tempfile
import time
from typing import NamedTuple, Optional


class DemoError(Exception):
    """Something the user has to know; the message is the whole story."""


class Arm(NamedTuple):
    name: str
    library: Optional[str]  # absolute path of what is preloaded; None: the system's malloc


class Run(NamedTuple):
    """What was seen of one program in one arm."""

    arm: str
    samples: list
    phases: list
    measure: str  # "Pss" or "Rss"
    note: str


# Settings of the caller's shell that would change what an arm, or Python, does.
UNWANTED_PREFIXES = ("LD_", "MALLOC_", "GLIBC_TUNABLES", "PYTHON")


def clean_environment():
    return {key: value for key, value in os.environ.items() if not key.startswith(UNWANTED_PREFIXES)}


class Workspace:
    """A scratch directory whose path is fit for LD_PRELOAD, where ':' and spaces separate, and for Unix sockets."""

    def __init__(self):
        chosen = tempfile.gettempdir()
        fit = len(chosen) < 60 and not any(c in ":$" or c.isspace() for c in chosen)
        self._directory = tempfile.TemporaryDirectory(prefix="neap-demo-", dir=chosen if fit else "/tmp")
        self.path = self._directory.name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._directory.cleanup()

    def file(self, name):
        return os.path.join(self.path, name)

    def preload_path(self, library):
        link = self.file("preload.so")
        if not os.path.islink(link):
            os.symlink(library, link)
        return link


class Child:
    """A child process. Leaving its context kills it; should we be killed, so is it (PR_SET_PDEATHSIG)."""

    def __init__(self, name, command, environment, log_file, read_output=False):
        self.name = name
        self.log_file = log_file
        with open(log_file, "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if read_output else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C goes to us alone, and we end the children
            )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def check_alive(self):
        """For a child that is to run until we end it."""
        if self.process.poll() is not None:
            raise self.failure()

    def failure(self):
        """The error to raise for a child that ended, or is about to end, without having done its work."""
        code = self.process.wait()
        reason = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        return DemoError(f"{self.name} failed, {reason}{self.last_words()}")

    def last_words(self, containing=""):
        with open(self.log_file, encoding="utf-8", errors="replace") as log:
            lines = [line for line in log.read().strip().splitlines() if containing in line][-5:]
        return ":\n  " + "\n  ".join(lines) if lines else " (it said nothing)"


def sleep_beside(child, seconds):
    """Sleeps, but no longer than the child lives."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        child.check_alive()
        time.sleep(min(left, 0.1))


def mapped_files(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
        fields = (line.rstrip("\n").split(maxsplit=5) for line in maps)
        return {field[5] for field in fields if len(field) == 6 and field[5].startswith("/")}


def check_preload(child, arm):
    """The loader only warns of a library that it cannot preload, so look at what is mapped."""
    if arm.library and os.path.realpath(arm.library) not in mapped_files(child.pid):
        raise DemoError(
            f"{arm.library} is not mapped in {child.name}: the preload did not take{child.last_words('ld.so')}"
        )


def check_not_preloaded_everywhere(library, preload_file="/etc/ld.so.preload"):
    """A machine-wide preload would be in the glibc arms too."""
    try:
        with open(preload_file, encoding="utf-8", errors="replace") as entries:
            listed = entries.read().replace(":", " ").split()
    except FileNotFoundError:
        return
    if any(os.path.basename(entry) == os.path.basename(library) for entry in listed):
        raise DemoError(f"{preload_file} preloads {os.path.basename(library)} into every process, the glibc arms too")
