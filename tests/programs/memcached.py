"""memcached: values of all sizes set, overwritten, deleted and read back over several connections."""

import os
import socket

from support import accepts, check, check_equal, free_port, test

KEYS = 20_000
BATCH = 200


def value(key, version):
    return (b"%d.%d/" % (key, version)) * (1 + (key * 31 + version * 17) % 400)


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def set(self, items):
        self.socket.sendall(b"".join(b"set k%d 0 0 %d\r\n%s\r\n" % (key, len(v), v) for key, v in items))
        for _ in items:
            check_equal(self.file.readline(), b"STORED\r\n", "memcached's answer to set")

    def delete(self, keys):
        self.socket.sendall(b"".join(b"delete k%d\r\n" % key for key in keys))
        for _ in keys:
            check_equal(self.file.readline(), b"DELETED\r\n", "memcached's answer to delete")

    def get(self, keys):
        self.socket.sendall(b"get " + b" ".join(b"k%d" % key for key in keys) + b"\r\n")
        found = {}
        while (line := self.file.readline()) != b"END\r\n":
            word, key, _, length = line.split()
            check_equal(word, b"VALUE", "memcached's answer to get")
            found[int(key[1:])] = self.file.read(int(length) + 2)[:-2]
        return found


@test(timeout=90, needs=["memcached"])
def memcached(case):
    port = free_port()
    argv = [case.program("memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "256", "-t", "4"]
    if os.geteuid() == 0:
        argv += ["-u", "nobody"]
    with case.start(argv, accepts(port)) as server:
        clients = [Client(port) for _ in range(6)]
        for version in range(case.size(6, 60)):
            for start in range(0, KEYS, BATCH):
                keys = range(start, start + BATCH)
                client = clients[start // BATCH % len(clients)]
                client.set([(key, value(key, version)) for key in keys])
                if version == 1:
                    client.delete([key for key in keys if key % 3 == 0])
        for start in range(0, KEYS, BATCH):
            keys = range(start, start + BATCH)
            found = clients[start % 5].get(keys)
            check_equal(sorted(found), list(keys), "keys that are there")
            check(all(found[key] == value(key, version) for key in keys), "a value is damaged")
        many = [Client(port) for _ in range(200)]  # connections cost buffers
        for client in many:
            client.get([1, 2, 3])
        for client in many + clients:
            client.close()
        server.check_takeover()
