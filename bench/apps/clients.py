"""HTTP load from asyncio: closed loops over a few connections, or requests at a steady rate."""

import asyncio
import json
import time

from errors import Failed


class HttpConnection(asyncio.Protocol):
    """As much of HTTP/1.1 as our servers answer with: a status and a body of known length."""

    def __init__(self):
        self._pending = b""
        self._waiter = None
        self.closing = False  # the server ends the connection after each answer, as some do

    def connection_made(self, transport):
        self._transport = transport

    def connection_lost(self, error):
        self.closing = True
        self._fail(error or ConnectionError("the server closed the connection"))

    def _fail(self, error):
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(error)

    def data_received(self, data):
        self._pending += data
        head, separator, body = self._pending.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.split(b"\r\n")
        status = int(lines[0].split()[1])
        fields = dict(line.lower().split(b": ", 1) for line in lines[1:] if b": " in line)
        if b"content-length" not in fields:
            self._fail(Failed(f"the server sent no Content-Length: {head.decode(errors='replace')}"))
            return
        if len(body) >= int(fields[b"content-length"]) and self._waiter and not self._waiter.done():
            self._pending = b""
            self.closing = fields.get(b"connection") == b"close"
            self._waiter.set_result((status, body))

    async def ask(self, request):
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiter

    def close(self):
        self._transport.close()


def http_request(method, path, document=None):
    body = b"" if document is None else json.dumps(document).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body:
        head += "Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class HttpLoad:
    def __init__(self, bench, port):
        self._bench, self._port = bench, port

    async def _connect(self):
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(HttpConnection, "127.0.0.1", self._port))[1]

    async def _worker(self, numbered, latencies, start, rate, until):
        connection = await self._connect()
        try:
            for number, request in numbered:
                if rate:
                    await asyncio.sleep(start + number / rate - time.monotonic())
                if time.monotonic() > until:
                    self._bench.note_cut()
                    return
                sent = time.monotonic()
                if connection.closing:
                    connection.close()
                    connection = await self._connect()
                status, body = await connection.ask(request)
                latencies.append(time.monotonic() - sent)
                if not 200 <= status < 300:
                    line, text = request.split(b"\r\n", 1)[0].decode(), body[:300].decode(errors="replace")
                    raise Failed(f"{self._bench.world.name}: {line}: status {status}: {text}")
        finally:
            connection.close()

    async def _workers(self, requests, connections, rate, until):
        latencies, start = [], time.monotonic()
        numbered = enumerate(requests)
        await asyncio.gather(*(self._worker(numbered, latencies, start, rate, until) for _ in range(connections)))
        return latencies, time.monotonic() - start

    def run(self, requests, connections=8, rate=0):
        """Sends the requests; at full speed, and counted, where no rate a second is given."""
        work = self._workers(requests, connections, rate, self._bench.until())
        latencies, seconds = self._bench.run_async(work)
        if not rate:
            self._bench.note_requests(len(latencies), seconds, latencies)

    def course(self, make_request, *, warm, cycle, peak, low_rate, peak_connections=32, drain=None):
        """The phases, with amounts of requests of the quick profile; make_request takes a number. `drain` ends what was
        busy: each cycle, and the peak."""
        numbers = iter(range(10**9))

        def requests(count):
            return (make_request(next(numbers)) for _ in range(count))

        low = max(1, round(low_rate * self._bench.profile.low_seconds))

        def low_window():
            if drain:
                drain()
            self.run(requests(low), connections=2, rate=low_rate)

        self._bench.course(
            warm=lambda: self.run(requests(self._bench.count(warm)), connections=2),
            cycle=lambda: self.run(requests(self._bench.count(cycle))),
            low=low_window,
            peak=lambda: self.run(requests(self._bench.count(peak)), connections=peak_connections),
            drain=drain,
        )
