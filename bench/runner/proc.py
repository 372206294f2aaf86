"""What /proc tells of a process and of those below it."""

import os
import time
from typing import NamedTuple

CLOCK_TICK = os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGESIZE")
KILOBYTE = 1024
SCAN_SHARE = 0.0015  # of a CPU, for looking for new processes


def number_after(text, key):
    """The number behind `key` in the text of a file of /proc, 0 where there is none."""
    at = text.find(key)
    return int(text[at + len(key) : at + len(key) + 24].split(None, 1)[0]) if at >= 0 else 0


class Counts(NamedTuple):
    anonymous: int  # bytes
    resident: int
    cpu_seconds: float  # its own and of the children it has waited for
    faults: int
    threads: int


class Rollup(NamedTuple):
    """From smaps_rollup, for which the kernel walks all page tables: 10 µs a resident MB here."""

    pss: int
    shared_anonymous: int  # what Pss takes off anonymous memory that others map too
    elsewhere: int  # shared memory and swap, as Pss
    lazy_free: int
    huge: int

    def __add__(self, other):
        return Rollup(*(a + b for a, b in zip(self, other)))


NO_ROLLUP = Rollup(0, 0, 0, 0, 0)


def parse_rollup(text):
    anonymous = number_after(text, b"\nAnonymous:")
    pss_anonymous = number_after(text, b"\nPss_Anon:") if b"\nPss_Anon:" in text else anonymous  # before Linux 5.4
    elsewhere = number_after(text, b"\nPss_Shmem:") + number_after(text, b"\nSwapPss:")
    fields = (
        number_after(text, b"\nPss:"),
        anonymous - pss_anonymous,
        elsewhere,
        number_after(text, b"\nLazyFree:"),
        number_after(text, b"\nAnonHugePages:"),
    )
    return Rollup(*(KILOBYTE * value for value in fields))


class Process:
    """Keeps the files open that are read often. Its methods raise OSError once the process has gone."""

    def __init__(self, pid):
        self.pid = pid
        self._statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self._statm)
            raise

    def close(self):
        os.close(self._statm)
        os.close(self._stat)

    def memory(self):
        """(anonymous, resident) bytes; the kernel adds up counters, which takes 2 µs."""
        fields = os.pread(self._statm, 256, 0).split()
        if len(fields) < 3 or fields[1] == b"0":  # it has ended, or is about to
            raise ProcessLookupError(self.pid)
        resident, of_files_and_shared = int(fields[1]), int(fields[2])
        return (resident - of_files_and_shared) * PAGE_SIZE, resident * PAGE_SIZE

    def counts(self):
        # The second field, the name in brackets, may hold spaces; count from its end.
        fields = os.pread(self._stat, 1024, 0).rpartition(b")")[2].split()
        if not fields:
            raise ProcessLookupError(self.pid)
        minor, minor_children, major, major_children = map(int, fields[7:11])
        return Counts(
            *self.memory(),
            cpu_seconds=sum(map(int, fields[11:15])) / CLOCK_TICK,
            faults=minor + minor_children + major + major_children,
            threads=int(fields[17]),
        )

    def rollup(self):
        # Opened anew: an open one stays with the program that was there before an exec.
        with open(f"/proc/{self.pid}/smaps_rollup", "rb", buffering=0) as file:
            return parse_rollup(file.read(4096))

    def mappings(self):
        with open(f"/proc/{self.pid}/maps", "rb", buffering=0) as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(65536), b""))


def mapped_files(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
        fields = (line.rstrip("\n").split(maxsplit=5) for line in maps)
        return {field[5] for field in fields if len(field) == 6 and field[5].startswith("/")}


def parents():
    """The parent of every process there is."""
    result = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb", buffering=0) as stat:
                    result[int(entry)] = int(stat.read(1024).rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
    return result


def descendants(root):
    parent_of = parents()
    children = {}
    for pid, parent in parent_of.items():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


class Tree:
    """A process and all below it, kept up to date at a bounded cost."""

    def __init__(self, root):
        self.root = root
        self._processes = {}
        self._next_scan = 0.0

    def close(self):
        for process in self._processes.values():
            process.close()
        self._processes = {}

    def _scan(self, now):
        started = time.thread_time()
        alive = set(descendants(self.root))
        for pid in alive - self._processes.keys():
            try:
                self._processes[pid] = Process(pid)
            except OSError:
                continue
        for pid in self._processes.keys() - alive:
            self._processes.pop(pid).close()
        self._next_scan = now + max(0.5, (time.thread_time() - started) / SCAN_SHARE)

    def each(self, read):
        """What `read` answers for every process that is still there."""
        now = time.monotonic()
        if now >= self._next_scan:
            self._scan(now)
        answers = []
        for pid, process in list(self._processes.items()):
            try:
                answers.append(read(process))
            except PermissionError:
                raise
            except (OSError, IndexError):
                self._processes.pop(pid).close()
                self._next_scan = 0.0
        return answers
