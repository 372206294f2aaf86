"""asyncio connections that last: a staircase of them up and down, JSON fan-out, heartbeats, and all of it together."""

import asyncio
import collections
import json
import time

from bench import PYTHON, SERVERS, World

AT_ONCE = 100  # connections being made
STAIRS = 5
STAY = 0.05  # of a crowd, in the low-traffic windows
# Quick amounts.
STAIRCASE = 800
HEARTBEATS = 2500  # connections; 10 k in the standard profile
SUBSCRIBERS = 60
DOCUMENT_ITEMS = 300  # about 60 KB


class Client(asyncio.Protocol):
    """Takes in frames of a length, a newline and as many bytes, of which it looks at the length alone."""

    def __init__(self):
        self._waiters = collections.deque()
        self._head, self._left = b"", 0
        self._lost = None

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        self._lost = error or ConnectionError("the server closed the connection")
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self._lost)

    def data_received(self, data):
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
            else:
                head, newline, data = data.partition(b"\n")
                self._head += head
                if not newline:
                    return
                self._left, self._head = int(self._head), b""
            if not self._left and self._waiters:
                waiter = self._waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)

    def frame(self):
        """A future of the next frame that nobody else waits for."""
        waiter = asyncio.get_running_loop().create_future()
        if self._lost:
            waiter.set_exception(self._lost)
        else:
            self._waiters.append(waiter)
        return waiter

    def send(self, letter, data=b""):
        self.transport.write(b"%s%d\n" % (letter, len(data)) + data)


class Crowd:
    """Some connections to the server, and what is done with them."""

    def __init__(self, bench, port):
        self.bench, self._port = bench, port
        self._clients = []

    async def _connect_one(self):
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Client, "127.0.0.1", self._port))[1]

    async def grow(self, size):
        while len(self._clients) < size:
            arriving = range(min(AT_ONCE, size - len(self._clients)))
            self._clients += await asyncio.gather(*(self._connect_one() for _ in arriving))

    async def shrink(self, size):
        """Any of them go, not the latest."""
        self.bench.random.shuffle(self._clients)
        for client in self._clients[size:]:
            client.transport.close()
        del self._clients[size:]
        await asyncio.sleep(0.05)

    async def each(self, letter, make, clients=None):
        """Sends a frame on each of the connections, some at once, and waits for the answers."""
        clients, latencies, started = clients or self._clients, [], time.monotonic()
        until = self.bench.until()
        for start in range(0, len(clients), AT_ONCE):
            if time.monotonic() > until:
                self.bench.note_cut()
                break
            sent, answers = time.monotonic(), []
            for client in clients[start : start + AT_ONCE]:
                client.send(letter, make())
                answers.append(client.frame())
                answers[-1].add_done_callback(lambda _, sent=sent: latencies.append(time.monotonic() - sent))
            await asyncio.gather(*answers)
        self.bench.note_requests(len(latencies), time.monotonic() - started, latencies)

    def some(self):
        return self._clients[: max(1, round(len(self._clients) * STAY))]

    def data(self):
        return b"d" * min(16_000, int(self.bench.random.lognormvariate(7.5, 0.8)))

    def heartbeat(self):
        rng = self.bench.random
        return json.dumps({"n": rng.randrange(10**6), "v": [rng.random() for _ in range(4)], "s": "up"}).encode()

    async def subscribe(self):
        """Waits until all are: who comes later does not get what is sent now."""
        answers = [client.frame() for client in self._clients]
        for client in self._clients:
            client.send(b"s")
        await asyncio.gather(*answers)

    def document(self, items):
        rng = self.bench.random
        text = [{"id": rng.randrange(10**9), "text": "t" * rng.randrange(300), "v": rng.random()} for _ in range(items)]
        return json.dumps({"items": text}).encode()

    async def fan_out(self, items):
        """One of them publishes a document, and all get it."""
        started = time.monotonic()
        answers = [client.frame() for client in self._clients]
        self._clients[0].send(b"f", self.document(items))
        await asyncio.gather(*answers)
        self.bench.note_requests(len(answers), time.monotonic() - started)


class Staircase:
    def __init__(self, bench, port):
        self._crowd = Crowd(bench, port)
        self._top = bench.count(STAIRCASE)

    async def _climb(self, top):
        for stair in range(1, STAIRS + 1):
            await self._crowd.grow(round(top * stair / STAIRS))
            await self._crowd.each(b"d", self._crowd.data)
            await self._crowd.each(b"h", self._crowd.heartbeat)

    async def warm(self):
        await self._climb(max(STAIRS, round(self._top * STAY)))

    async def cycle(self):
        await self._climb(self._top // 2)
        for stair in reversed(range(1, STAIRS)):
            await self._crowd.shrink(max(1, round(self._top / 2 * stair / STAIRS)))
        await self._crowd.shrink(max(1, round(self._top * STAY)))

    async def low(self):
        await self._crowd.each(b"h", self._crowd.heartbeat)

    async def peak(self):
        await self._climb(self._top)

    async def drain(self):
        await self._crowd.shrink(0)


class JsonPeak:
    def __init__(self, bench, port):
        self._crowd = Crowd(bench, port)
        self._bench = bench
        self._subscribers = bench.scaled(SUBSCRIBERS)

    async def warm(self):
        await self._crowd.grow(self._subscribers)
        await self._crowd.subscribe()
        await self._crowd.fan_out(10)

    async def cycle(self):
        for _ in range(self._bench.count(3)):
            await self._crowd.fan_out(self._bench.random.randrange(DOCUMENT_ITEMS // 2, DOCUMENT_ITEMS))

    async def low(self):
        await self._crowd.each(b"h", self._crowd.heartbeat)

    async def peak(self):
        for factor in (2, 4, 3):
            await self._crowd.fan_out(factor * DOCUMENT_ITEMS)

    async def drain(self):
        await self._crowd.shrink(0)


class Heartbeats:
    def __init__(self, bench, port):
        self._crowd = Crowd(bench, port)
        self._size = bench.count(HEARTBEATS)

    async def warm(self):
        await self._crowd.grow(self._size)

    async def cycle(self):
        await self._crowd.each(b"h", self._crowd.heartbeat)

    async def low(self):
        await self._crowd.each(b"h", self._crowd.heartbeat, self._crowd.some())

    async def peak(self):
        for _ in range(3):
            await self._crowd.each(b"h", self._crowd.heartbeat)

    async def drain(self):
        await self._crowd.shrink(0)


def run_kinds(kinds):
    def run(bench):
        bench.need_open_files(bench.count(STAIRCASE + HEARTBEATS) + SUBSCRIBERS + 100)
        port = bench.port()
        with bench.serve([PYTHON, f"{SERVERS}/long_conn.py", str(port)], port):
            parts = [kind(bench, port) for kind in kinds]

            def step(name):
                async def together():
                    await asyncio.gather(*(getattr(part, name)() for part in parts))

                bench.run_async(together())

            def low():
                for _ in range(4):
                    step("low")
                    bench.sleep(bench.profile.low_seconds / 4)

            bench.course(
                warm=lambda: step("warm"),
                cycle=lambda: step("cycle"),
                low=low,
                peak=lambda: step("peak"),
                drain=lambda: step("drain"),
            )

    return run


def world(name, summary, *kinds):
    return World(
        name=f"long-conn-{name}",
        world="A6",
        summary=f"asyncio connections that last: {summary}",
        needs=[],
        run=run_kinds(kinds),
        is_python=True,
    )


WORLDS = [
    world("staircase", "a staircase of them up and down", Staircase),
    world("json-peak", "JSON documents fanned out to all", JsonPeak),
    world("heartbeat", "heartbeats of thousands", Heartbeats),
    world("all", "staircase, fan-out and heartbeats together", Staircase, JsonPeak, Heartbeats),
]
