"""The TCP server of connection.h for asyncio, with a task and a stream for each connection: tcp_asyncio.py PORT"""

import asyncio
import collections
import struct
import sys

MESSAGES_KEPT = 64
LENGTH = struct.Struct("<I")
connections = {}


async def serve(reader, writer):
    name = f"connection of {writer.get_extra_info('peername')}"
    messages, count = collections.deque(maxlen=MESSAGES_KEPT), 0
    connections[name] = messages
    try:
        while True:
            (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            messages.append(await reader.readexactly(size))
            count += 1
            writer.write(LENGTH.pack(count))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        del connections[name]
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


asyncio.run(main())
