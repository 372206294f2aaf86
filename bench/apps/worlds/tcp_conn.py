"""TCP servers that keep an object for each connection: connect, send, disconnect in a loop."""

import asyncio
import os
import struct
import time

from bench import PYTHON, SERVERS, World

LENGTH = struct.Struct("<I")
CONNECTIONS = 600  # at once, at the peak; quick
MESSAGES = 20  # of each connection
LONGEST = 16_000
AT_ONCE = 40  # connections in the cycles


class Client(asyncio.Protocol):
    """Sends its messages one after the other, each when the one before is answered."""

    def __init__(self, load, sizes):
        self._load, self._sizes, self._pending = load, sizes, b""
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self._send()

    def _send(self):
        if not self._sizes or time.monotonic() > self._load.until:
            if self._sizes:
                self._load.bench.note_cut()
            self._finish(None)
            return
        size = self._sizes.pop()
        self._sent = time.monotonic()
        self.transport.write(LENGTH.pack(size) + self._load.bytes[:size])

    def _finish(self, error):
        if self.finished.done():
            return
        if error:
            self.finished.set_exception(error)
        else:
            self.finished.set_result(None)

    def data_received(self, data):
        self._pending += data
        if len(self._pending) == LENGTH.size:
            self._pending = b""
            self._load.latencies.append(time.monotonic() - self._sent)
            self._send()

    def connection_lost(self, error):
        self._finish(error or ConnectionError("the server closed the connection"))


class Load:
    def __init__(self, bench, port):
        self.bench, self._port = bench, port
        self.bytes = b"m" * LONGEST
        self.latencies, self.until = [], 0
        self._held = []

    async def _connect(self):
        rng = self.bench.random
        sizes = [min(LONGEST, int(rng.lognormvariate(6.5, 1)) + 1) for _ in range(MESSAGES)]
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: Client(self, sizes), "127.0.0.1", self._port))[1]

    async def _loop(self, numbers):
        for _ in numbers:
            if time.monotonic() > self.until:
                self.bench.note_cut()
                return
            client = await self._connect()
            await client.finished
            client.transport.close()

    async def _come_and_go(self, connections):
        numbers = iter(range(connections))
        await asyncio.gather(*(self._loop(numbers) for _ in range(min(AT_ONCE, connections))))

    async def _come_and_stay(self, connections):
        for start in range(0, connections, AT_ONCE):
            arriving = range(start, min(start + AT_ONCE, connections))
            clients = await asyncio.gather(*(self._connect() for _ in arriving))
            self._held += clients
            await asyncio.gather(*(client.finished for client in clients))

    async def _leave(self):
        self.bench.random.shuffle(self._held)
        for client in self._held:
            client.transport.close()
            await asyncio.sleep(0)
        self._held.clear()

    def _run(self, work):
        self.latencies, self.until, started = [], self.bench.until(), time.monotonic()
        self.bench.run_async(work)
        self.bench.note_requests(len(self.latencies), time.monotonic() - started, self.latencies)

    def come_and_go(self, connections):
        self._run(self._come_and_go(connections))

    def come_and_stay(self, connections):
        self._run(self._come_and_stay(connections))

    def leave(self):
        self.bench.run_async(self._leave())

    def low(self):
        for _ in range(4):
            self.come_and_go(1)
            self.bench.sleep(self.bench.profile.low_seconds / 4)


def run_kind(argv):
    def run(bench):
        peak = bench.count(CONNECTIONS)
        bench.need_open_files(peak + 100)
        port = bench.port()
        with bench.serve([*argv(bench), str(port)], port):
            load = Load(bench, port)
            bench.course(
                warm=lambda: load.come_and_go(bench.count(10)),
                cycle=lambda: load.come_and_go(bench.count(250)),
                low=load.low,
                peak=lambda: load.come_and_stay(peak),
                drain=load.leave,
            )

    return run


def c_server(kind, summary):
    return World(
        name=f"tcp-conn-{kind}",
        world="A5",
        summary=f"TCP server in C, {summary}: connect, send, disconnect",
        needs=[f"bench/tcp-{kind}"],
        run=run_kind(lambda bench: [os.path.join(bench.programs, f"tcp-{kind}")]),
    )


WORLDS = [
    c_server("threads", "a thread for each connection"),
    c_server("epoll", "one thread with epoll"),
    World(
        name="tcp-conn-asyncio",
        world="A5",
        summary="TCP server of asyncio streams: connect, send, disconnect",
        needs=[],
        run=run_kind(lambda bench: [PYTHON, f"{SERVERS}/tcp_asyncio.py"]),
        is_python=True,
    ),
]
