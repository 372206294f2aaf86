"""memcached with values of mixed sizes: a control, as it pools for itself."""

import asyncio
import os
import time

from bench import World
from errors import Failed
from needs import program

KEYS = 30_000
DEPTH = 20  # commands in flight on a connection
LONGEST = 60_000


class Load:
    def __init__(self, bench, port):
        self._bench, self._port = bench, port
        self._value = b"v" * LONGEST
        self._keys = bench.count(KEYS)

    def _batch(self):
        """The bytes of some commands, and how the last line of each answer begins."""
        rng, packed, ends = self._bench.random, [], []
        for _ in range(DEPTH):
            kind, key = rng.random(), rng.randrange(self._keys)
            if kind < 0.5:
                size = min(LONGEST, int(rng.lognormvariate(6.5, 1.3)) + 1)
                packed.append(b"set %d 0 0 %d\r\n%s\r\n" % (key, size, self._value[:size]))
                ends.append(b"STORED")
            elif kind < 0.9:
                packed.append(b"get %d\r\n" % key)
                ends.append(b"END")
            else:
                packed.append(b"delete %d\r\n" % key)
                ends.append((b"DELETED", b"NOT_FOUND"))
        return b"".join(packed), ends

    async def _worker(self, batches, latencies, until):
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for _ in batches:
                if time.monotonic() > until:
                    self._bench.note_cut()
                    return
                data, ends = self._batch()
                sent = time.monotonic()
                writer.write(data)
                for end in ends:
                    line = await reader.readline()
                    if line.startswith(b"VALUE"):
                        await reader.readexactly(int(line.split()[3]) + 2)
                        line = await reader.readline()
                    if not line:
                        raise ConnectionError("memcached closed the connection")
                    if not line.startswith(end):
                        raise Failed(f"memcached answered: {line.decode(errors='replace').strip()}")
                latencies.append(time.monotonic() - sent)
        finally:
            writer.close()

    async def _workers(self, batches, connections):
        latencies, shared = [], iter(range(batches))
        await asyncio.gather(*(self._worker(shared, latencies, self._bench.until()) for _ in range(connections)))
        return latencies

    def run(self, commands, connections=4):
        started = time.monotonic()
        work = self._workers(max(1, commands // DEPTH), connections)
        latencies = self._bench.run_async(work)
        self._bench.note_requests(len(latencies) * DEPTH, time.monotonic() - started, latencies)


async def flush(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"flush_all\r\n")
    if await reader.readline() != b"OK\r\n":
        raise Failed("memcached did not flush")
    writer.close()


def run(bench):
    port = bench.port()
    argv = [program("memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "1024", "-t", "4"]
    if os.geteuid() == 0:
        argv += ["-u", "root"]
    with bench.serve(argv, port):
        load = Load(bench, port)
        bench.course(
            warm=lambda: load.run(bench.count(2000)),
            cycle=lambda: load.run(bench.count(10_000)),
            low=lambda: bench.sleep(bench.profile.low_seconds),
            peak=lambda: load.run(bench.count(30_000), connections=16),
            drain=lambda: bench.run_async(flush(port)),
        )


WORLDS = [
    World(
        name="memcached-mixed",
        world="A7",
        summary="memcached: values of mixed sizes, then flush_all (a control: it pools for itself)",
        needs=["memcached"],
        run=run,
    )
]
