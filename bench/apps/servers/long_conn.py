"""An asyncio server of connections that last, with a buffer, a queue and two tasks each: long_conn.py PORT

A client sends frames: a letter, the length in digits, a newline, and that many bytes. It gets frames with a length, a
newline and the bytes.
  h  heartbeat, JSON: the connection's state is renewed; answered with a few bytes
  d  data: goes to the connection's buffer, which grows to a bound; answered with how much is there
  f  JSON document: every connection that has sent `s` gets a copy made for it; all are there before the first goes
  s  subscribes to these; answered with a few bytes
"""

import asyncio
import collections
import json
import sys
import time

BUFFER = 32_000
LAST = 5  # heartbeats
CLOSE = None
connections = {}
subscribers = {}


class Connection:
    def __init__(self, number, writer):
        self.number, self._writer = number, writer
        self.buffer = bytearray()
        self.state = {"number": number, "since": time.time(), "tags": [f"tag-{number}-{n}" for n in range(4)]}
        self.heartbeats = collections.deque(maxlen=LAST)
        self.queue = asyncio.Queue()
        self.sender = asyncio.ensure_future(self._send())

    async def _send(self):
        while (data := await self.queue.get()) is not CLOSE:
            self._writer.write(b"%d\n" % len(data))
            self._writer.write(data)
            await self._writer.drain()

    def heartbeat(self, data):
        beat = json.loads(data)
        self.heartbeats.append((time.time(), beat))
        self.state["last"] = {**beat, "text": f"{self.number}/{beat['n']}", "values": [float(v) for v in beat["v"]]}
        self.queue.put_nowait(json.dumps({"n": beat["n"], "seen": len(self.heartbeats)}).encode())

    def data(self, data):
        self.buffer += data
        if len(self.buffer) > BUFFER:
            self.buffer = self.buffer[len(self.buffer) - BUFFER // 4 :]
        self.queue.put_nowait(b"%d" % len(self.buffer))

    def subscribe(self, _data):
        subscribers[self.number] = self
        self.queue.put_nowait(b"subscribed")

    def fan_out(self, data):
        document = json.loads(data)
        copies = {c: json.dumps({**document, "for": c.state["tags"]}).encode() for c in subscribers.values()}
        for connection, copy in copies.items():
            connection.queue.put_nowait(copy)


async def serve(reader, writer):
    number = len(connections)
    while number in connections:
        number += 1
    connection = connections[number] = Connection(number, writer)
    actions = {b"h": connection.heartbeat, b"d": connection.data, b"f": connection.fan_out, b"s": connection.subscribe}
    try:
        while head := await reader.readline():
            data = await reader.readexactly(int(head[1:]))
            actions[head[:1]](data)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        del connections[number]
        subscribers.pop(number, None)
        connection.queue.put_nowait(CLOSE)
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096, limit=1 << 16)
    await server.serve_forever()


asyncio.run(main())
