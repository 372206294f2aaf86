"""redis with values of mixed sizes that are overwritten and deleted.

Debian's redis-server is linked with libjemalloc, so its glibc baseline is LD_PRELOAD=libc.so.6. It calls plain malloc
and free, which the first library in search order answers; its `info memory` says mem_allocator:jemalloc all the same
(fixed at build time), but jemalloc's own count of allocated bytes, in the same reply, tells whether any object really
is there.
"""

import csv
import os
import socket
import time
from contextlib import ExitStack

from bench import World
from errors import Failed
from needs import program

KEYS = 80_000
# Bytes of a value, and how many SETs of it; all sizes at once, to random keys, so values are overwritten by others.
LOADS = ((64, 80_000), (250, 80_000), (900, 60_000), (1500, 50_000), (4000, 16_000))
CYCLE_SETS = 30_000
LOW_SETS = 200  # a second
KEPT = 0.05
BATCH = 200  # commands in one write
REPLY_TIMEOUT = 30


class Client:
    """As much of the redis protocol as we need."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(REPLY_TIMEOUT)
        self._connect(path)
        self._replies = self._socket.makefile("rb")

    def _connect(self, path):
        """redis listens here a moment after it does at its port."""
        until = time.monotonic() + REPLY_TIMEOUT
        while True:
            try:
                return self._socket.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._replies.close()
        self._socket.close()

    def _receive(self):
        line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Failed(f"redis answered: {rest.decode()}")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._replies.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._receive() for _ in range(int(rest))]
        return rest

    def commands(self, commands):
        """Sends them at once, and answers the replies."""
        packed = []
        for words in commands:
            words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            packed.append(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        self._socket.sendall(b"".join(packed))
        return [self._receive() for _ in commands]

    def command(self, *words):
        return self.commands([words])[0]

    def info(self, section):
        lines = self.command("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def all_keys(self):
        keys, cursor = set(), b"0"
        while True:
            cursor, found = self.command("SCAN", cursor, "COUNT", 1000)
            keys.update(found)
            if cursor == b"0":
                return keys


def check_interposed(info):
    """Whether redis's objects are where they should be, by jemalloc's own count of them."""
    used, in_jemalloc = int(info["used_memory"]), int(info.get("allocator_allocated", 0))
    other_allocator = "jemalloc" not in os.path.basename(os.path.realpath(os.environ.get("NEAP_BENCH_PRELOAD", "")))
    if other_allocator and info["mem_allocator"].startswith("jemalloc") and in_jemalloc > used / 2:
        raise Failed("redis-server still takes its memory from its own jemalloc")


class Redis:
    def __init__(self, bench, server, path, client):
        self.bench, self.server, self.path, self.client = bench, server, path, client

    def set_mixed(self, count):
        """Values of log-normal sizes to random keys."""
        rng, value = self.bench.random, b"v" * 20_000
        keys, until = self.bench.count(KEYS), self.bench.until()
        for start in range(0, count, BATCH):
            if time.monotonic() > until:
                self.bench.note_cut()
                return
            numbers = range(start, min(start + BATCH, count))
            sizes = [min(len(value), int(rng.lognormvariate(6, 1.2)) + 1) for _ in numbers]
            self.client.commands([("SET", f"key:{rng.randrange(keys):012d}", value[:size]) for size in sizes])

    def delete_most(self):
        keys = sorted(self.client.all_keys())
        self.bench.random.shuffle(keys)
        doomed = keys[round(len(keys) * KEPT) :]
        for start in range(0, len(doomed), 500):
            self.client.command("DEL", *doomed[start : start + 500])

    def cycle(self):
        self.set_mixed(self.bench.count(CYCLE_SETS))
        self.delete_most()

    def low(self):
        until = time.monotonic() + self.bench.profile.low_seconds
        while time.monotonic() < until:
            self.set_mixed(LOW_SETS // 10)
            self.bench.sleep(0.1)

    def peak(self):
        """redis-benchmark, one for each size. At once also because it seeds its random keys with the time and its
        process id combined: runs one after another sometimes draw the same keys."""
        keys, started = self.bench.count(KEYS), time.monotonic()
        with ExitStack() as stack:
            running = []
            for size, sets in LOADS:
                argv = [program("redis-benchmark"), "-s", self.path, "--csv", "-t", "set", "-r", str(keys)]
                argv += ["-n", str(self.bench.count(sets)), "-d", str(size), "-P", "16", "-c", "10"]
                running.append(stack.enter_context(self.bench.helper(f"redis-benchmark-{size}", argv, output=True)))
            while any(each.process.poll() is None for each in running):
                self.server.check_alive()
                time.sleep(0.02)
            seconds = time.monotonic() - started
            if any(each.process.returncode != 0 for each in running):
                self.server.check_alive(grace=1)
                raise Failed(f"redis-benchmark failed{running[0].last_words()}")
            rows = [next(csv.DictReader(each.process.stdout.read().decode().splitlines())) for each in running]
        total = sum(self.bench.count(sets) for _, sets in LOADS)
        self.bench.note_requests(total, seconds)
        # Of the size that fared worst: redis-benchmark gives no more than its own percentiles.
        for name, column in (("p50_ms", "p50_latency_ms"), ("p99_ms", "p99_latency_ms")):
            self.bench.note(**{name: max(float(row[column]) for row in rows)})
        check_interposed(self.client.info("memory"))


def run(bench):
    path = os.path.join(bench.directory, "redis.sock")
    port = bench.port()
    argv = [program("redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", path]
    argv += ["--save", "", "--appendonly", "no", "--dir", bench.directory, "--loglevel", "warning"]
    argv += ["--jemalloc-bg-thread", "no"]
    with bench.serve(argv, port, default_preload="libc.so.6") as server, Client(path) as client:
        redis = Redis(bench, server, path, client)
        bench.course(
            warm=lambda: redis.set_mixed(bench.count(1000)),
            cycle=redis.cycle,
            low=redis.low,
            peak=redis.peak,
            drain=redis.delete_most,
        )


WORLDS = [
    World(
        name="redis-mixed",
        world="A7",
        summary="redis: values of mixed sizes, overwritten; then a random 95 % of the keys deleted",
        needs=["redis-server", "redis-tools"],
        run=run,
    )
]
