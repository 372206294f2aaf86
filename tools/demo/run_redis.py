"""Runs redis-server under one arm: mixed sizes, then a random 95 % of the keys deleted, then silence.

Debian's redis-server is linked with libjemalloc, so its glibc arm is LD_PRELOAD=libc.so.6. The server calls plain
malloc and free, which the first library in search order answers; mallctl and malloc_stats_print, which nobody else
has, still reach jemalloc. Its `info memory` therefore always says mem_allocator:jemalloc (fixed at build time), but
jemalloc's own count of allocated bytes, in the same reply, tells whether any object really is there: see
check_interposed.
"""

import os
import random
import shutil
import socket
import time
from contextlib import ExitStack

from arms import Child, DemoError, Run, check_preload, clean_environment, sleep_beside
from sampler import Sampler

KEYS = 250_000
# Bytes of a value, and how many SETs of it; all sizes at once, to random keys, so values are overwritten by others.
LOADS = ((64, 250_000), (250, 250_000), (900, 200_000), (1500, 150_000), (4000, 50_000))
KEPT = 0.05
DEADLINE = 60
REPLY_TIMEOUT = 20


def missing_program():
    """The name of the program that is not installed, or None."""
    return next((name for name in ("redis-server", "redis-benchmark") if not shutil.which(name)), None)


class Client:
    """As much of the redis protocol as we need."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(REPLY_TIMEOUT)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._replies = self._socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._replies.close()
        self._socket.close()

    def _send(self, command):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
        self._socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def _receive(self):
        line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise DemoError(f"redis answered: {rest.decode()}")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._replies.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._receive() for _ in range(int(rest))]
        return rest

    def command(self, *words):
        self._send(words)
        return self._receive()

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


def environment(arm, workspace):
    library = workspace.preload_path(arm.library) if arm.library else "libc.so.6"
    return {**clean_environment(), "LD_PRELOAD": library}


def start_server(arm, workspace):
    command = [shutil.which("redis-server"), "--port", "0", "--unixsocket", workspace.file("redis.sock")]
    command += ["--save", "", "--appendonly", "no", "--dir", workspace.path, "--loglevel", "warning"]
    command += ["--jemalloc-bg-thread", "no"]
    return Child(f"redis-server under {arm.name}", command, environment(arm, workspace), workspace.file("redis.log"))


def connect(server, workspace):
    until = time.monotonic() + REPLY_TIMEOUT
    while time.monotonic() < until:
        server.check_alive()
        try:
            return Client(workspace.file("redis.sock"))
        except OSError:
            time.sleep(0.02)
    raise DemoError(f"{server.name} did not open its socket within {REPLY_TIMEOUT} s{server.last_words()}")


def check_interposed(info, arm):
    """Whether redis's objects are where the arm says, by jemalloc's own count of them, 100 ms old at most."""
    if arm.library and "jemalloc" in os.path.basename(os.path.realpath(arm.library)):
        return
    used, in_jemalloc = int(info["used_memory"]), int(info.get("allocator_allocated", 0))
    linked_with_jemalloc = info["mem_allocator"].startswith("jemalloc")
    if linked_with_jemalloc and in_jemalloc > used / 2:
        raise DemoError(f"redis-server still takes its memory from its own jemalloc in the {arm.name} arm")


def start_benchmark(workspace, size, count):
    command = [shutil.which("redis-benchmark"), "-s", workspace.file("redis.sock"), "-q", "-t", "set"]
    command += ["-r", str(KEYS), "-n", str(count), "-d", str(size), "-P", "16", "-c", "10"]
    return Child("redis-benchmark", command, clean_environment(), workspace.file(f"benchmark-{size}.log"))


def load(server, workspace, deadline):
    # At once also because redis-benchmark seeds its random keys with the time and its process id combined: runs one
    # after another sometimes draw the same keys, and the arms would differ.
    with ExitStack() as stack:
        benchmarks = [stack.enter_context(start_benchmark(workspace, *sizes)) for sizes in LOADS]
        while any(benchmark.process.poll() is None for benchmark in benchmarks):
            server.check_alive()
            if time.monotonic() > deadline:
                raise DemoError(f"loading redis took longer than {DEADLINE} s")
            time.sleep(0.02)
        for benchmark in benchmarks:
            if benchmark.process.returncode != 0:
                server.check_alive()
                raise benchmark.failure()


def delete_most(client, rng):
    """Deletes a random 95 % of the keys; returns how many there were and how many stay."""
    keys = sorted(client.all_keys())
    rng.shuffle(keys)
    kept = round(len(keys) * KEPT)
    doomed = keys[kept:]
    for start in range(0, len(doomed), 500):
        client.command("DEL", *doomed[start : start + 500])
    return len(keys), kept


def measure(arm, workspace, silence):
    deadline = time.monotonic() + DEADLINE
    with start_server(arm, workspace) as server:
        with connect(server, workspace) as client:
            client.command("PING")
            check_preload(server, arm)
        sampler = Sampler(server.pid)
        sampler.start()
        try:
            sampler.begin_phase("start")
            sleep_beside(server, 0.5)
            sampler.begin_phase("burst")
            load(server, workspace, deadline)
            sleep_beside(server, 0.3)  # the peak gets its samples, and redis renews its figures
            with connect(server, workspace) as client:
                check_interposed(client.info("memory"), arm)
                sampler.begin_phase("drained")
                count, kept = delete_most(client, random.Random(1))
            sampler.begin_phase("silent")
            sleep_beside(server, silence)
        except OSError as error:
            time.sleep(0.2)  # a server that dies closes its sockets before it can be waited for
            server.check_alive()
            raise DemoError(f"lost the connection to {server.name}: {error}") from error
        finally:
            sampler.stop()
        with connect(server, workspace) as client:
            live = int(client.info("memory")["used_memory"]) / 1e6
    note = f"{kept} of {count} keys kept, {live:.1f} MB by redis's own count"
    return Run(arm.name, sampler.samples, sampler.phases, sampler.measure, note)
