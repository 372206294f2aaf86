"""Whether neap is the malloc of a running process, seen from outside: the library's neap_state, read from the
process's memory at the place where /proc/PID/maps shows the library."""

import dataclasses
import os
import struct
import subprocess
import threading
import time

READY, IN_FRONT = 1, 2
LAYOUT = struct.Struct("=8sII16sQQ")  # struct neap_state in neap.h
POLL = 0.01
LONG_ENOUGH = 1.0  # seconds in which every process has allocated something …
TICKS = 10  # … unless a busy machine has kept it from running: it waits for a processor, and has used little of one


@dataclasses.dataclass
class State:
    flags: int
    heap_base: int
    heap_end: int

    def took_over(self):
        return self.flags & (READY | IN_FRONT) == READY | IN_FRONT and self.heap_base < self.heap_end


class Library:
    """libneap.so as a file: where it is, and where its state lies in it."""

    def __init__(self, path):
        self.path = os.path.realpath(path)
        symbols = subprocess.run(["nm", "-D", self.path], capture_output=True, text=True).stdout
        offsets = [line.split()[0] for line in symbols.splitlines() if line.split()[-1].split("@")[0] == "neap_state"]
        if not offsets:
            raise ValueError("not a libneap.so: no neap_state in it")
        self.offset = int(offsets[0], 16)

    def state(self, pid):
        """The State in that process, or None: no library in it, or no such process (any more)."""
        try:
            base = next((int(start.split("-")[0], 16) for start, _, offset, _, _, *path in mappings(pid)
                         if path == [self.path] and int(offset, 16) == 0), None)
            if base is None:
                return None
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                memory.seek(base + self.offset)
                data = memory.read(LAYOUT.size)
        except (OSError, ValueError):  # it went away
            return None
        if len(data) < LAYOUT.size:
            return None
        magic, _, flags, _, heap_base, heap_end = LAYOUT.unpack(data)
        return State(flags, heap_base, heap_end) if magic == b"neap 1\0\0" else None

    def took_over(self, pid):
        state = self.state(pid)
        return state is not None and state.took_over()


def mappings(pid):
    with open(f"/proc/{pid}/maps") as maps:
        return [line.rstrip("\n").split(maxsplit=5) for line in maps]


def resident(pid, state):
    """Bytes of the heap that are resident."""
    total, inside = 0, False
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            word = line.split()[0]
            if not word.endswith(":"):
                start, end = (int(x, 16) for x in word.split("-"))
                inside = state.heap_base <= start and end <= state.heap_end
            elif word == "Rss:" and inside:
                total += int(line.split()[1]) * 1024
    return total


def children(pid):
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as f:
                found += [int(child) for child in f.read().split()]
    except OSError:
        pass
    return found


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def could_run(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] == "S" or int(fields[11]) + int(fields[12]) >= TICKS


class Watch(threading.Thread):
    """Looks at a process and all that descend from it until stopped. Every process is named by its executable."""

    def __init__(self, root, library):
        super().__init__(daemon=True)
        self.root, self.library = root, library
        self.stopping = threading.Event()
        self.taken = {}  # name: how many processes neap took over
        self.first_seen = {}  # (pid, executable): when
        self.verified = set()
        self.without = set()  # executables that ran LONG_ENOUGH without neap
        self.start()

    def run(self):
        while True:
            last = self.stopping.is_set()
            for pid in [self.root, *descendants(self.root)]:
                self.look(pid)
            if last:
                return
            self.stopping.wait(POLL)

    def look(self, pid):
        try:
            executable = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            return
        key = pid, executable
        if key in self.verified:
            return
        now = time.monotonic()
        if self.library.took_over(pid):
            self.verified.add(key)
            name = os.path.basename(executable)
            self.taken[name] = self.taken.get(name, 0) + 1
            self.without.discard(key)
        elif now - self.first_seen.setdefault(key, now) > LONG_ENOUGH and could_run(pid):
            self.without.add(key)

    def stop(self):
        self.stopping.set()
        self.join()
