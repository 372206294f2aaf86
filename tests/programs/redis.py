"""redis-server and redis-benchmark. Debian links both to libjemalloc: under preload its malloc must stand idle."""

import os
import re
import socket

from support import accepts, check, check_equal, free_port, test

OPTIONS = ["--save", "", "--appendonly", "no", "--enable-debug-command", "yes", "--bind", "127.0.0.1", "--daemonize",
           "no", "--io-threads", "2"]
KEYS = 30_000
LUA = "local n = 0 for i = 1, 2000 do n = n + #redis.call('GET', 'string:' .. i) end return n"
SMALL = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,lrange_500,mset"
LARGE = "set,get,lpush,lpop,hset,mset"


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, *words):
        data = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(data) + b"".join(b"$%d\r\n%s\r\n" % (len(d), d) for d in data))

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:].strip()
        check(kind != b"-" and line, f"redis answered {line.decode() or 'nothing'}")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if int(rest) < 0:
                return None
            return self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return rest

    def ask(self, *words):
        self.send(*words)
        return self.reply()

    def ask_all(self, requests):
        answers = []
        for start in range(0, len(requests), 500):
            some = requests[start:start + 500]
            for words in some:
                self.send(*words)
            answers += [self.reply() for _ in some]
        return answers

    def info(self, section):
        return dict(line.split(":", 1) for line in self.ask("INFO", section).decode().splitlines() if ":" in line)


def value(i):
    return (b"%d," % i) * (1 + i * 7919 % 120)


def fill(client):
    """Data of mixed sizes and types, with many of them overwritten and deleted."""
    client.ask_all([("SET", f"string:{i}", value(i)) for i in range(KEYS)])
    client.ask_all([("DEL", f"string:{i}") for i in range(0, KEYS, 3)])
    client.ask_all([("APPEND", f"string:{i}", value(i + 1)) for i in range(0, KEYS, 2)])
    client.ask_all([("HSET", f"hash:{i % 50}", f"field{i}", value(i)) for i in range(KEYS // 3)])
    client.ask_all([("ZADD", f"zset:{i % 20}", i * 31 % 1009, f"member{i}") for i in range(KEYS // 3)])
    client.ask_all([("RPUSH", f"list:{i % 30}", value(i)) for i in range(KEYS // 3)])
    client.ask_all([("SADD", f"set:{i % 40}", i) for i in range(KEYS // 3)])
    client.ask_all([("LTRIM", f"list:{i}", 10, -10) for i in range(0, 30, 2)])
    client.ask("SETRANGE", "large", 3_000_000, "end")


def start(case, port, directory, neap=True):
    os.makedirs(case.path(directory), exist_ok=True)
    argv = [case.program("redis-server"), *OPTIONS, "--port", str(port), "--dir", case.path(directory)]
    return case.start(argv, accepts(port), neap=neap)


def check_jemalloc_idle(server, client):
    """redis counts what it asked of malloc, and asks jemalloc what that one gave."""
    asked = int(client.info("memory")["used_memory"])
    resident = server.resident()
    check(resident > 0.8 * asked, f"redis uses {asked} bytes, of neap's heap only {resident} are resident")
    if server.maps("libjemalloc"):
        theirs = int(client.info("memory")["allocator_allocated"])
        check(theirs < 0.2 * asked, f"jemalloc has given {theirs} bytes of redis's {asked}")


@test("redis.data", timeout=150)
def data(case):
    with start(case, glibc_port := free_port(), "jemalloc", neap=False), Client(glibc_port) as client:
        fill(client)
        expected = client.ask("DEBUG", "DIGEST")
    port = free_port()
    with start(case, port, "dump") as server, Client(port) as client:
        fill(client)
        check_equal(client.ask("DEBUG", "DIGEST"), expected, "digest of the data")
        check_jemalloc_idle(server, client)
        check_equal(client.ask("GET", "string:101"), value(101), "a value")
        check_equal(client.ask("GET", "string:100"), value(100) + value(101), "a value appended to")
        client.ask("SAVE")
        client.ask("DEBUG", "RELOAD")
        check_equal(client.ask("DEBUG", "DIGEST"), expected, "digest after a reload")
        client.ask_all([("SET", f"string:{i}", value(i)) for i in range(2000, 0, -1)])
        length = sum(len(value(i)) for i in range(1, 2001))
        check_equal(client.ask("EVAL", LUA, 0), length, "a sum in Lua")
        expected = client.ask("DEBUG", "DIGEST")
        client.ask("BGSAVE")  # in a forked child, while the parent goes on
        client.ask_all([("SET", f"later:{i}", value(i)) for i in range(KEYS // 2)])
        check(server.wait_for(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == "0"), "BGSAVE stays on")
        check_equal(client.info("persistence")["rdb_last_bgsave_status"], "ok", "BGSAVE")
        client.ask("MEMORY", "PURGE")
        client.ask("FLUSHALL", "ASYNC")  # freed by another thread
        check_equal(client.ask("DBSIZE"), 0, "keys after FLUSHALL")
        fill(client)
        server.stop(ask=lambda: client.send("SHUTDOWN", "NOSAVE"))
    port = free_port()
    with start(case, port, "dump"), Client(port) as client:
        check_equal(client.ask("DEBUG", "DIGEST"), expected, "digest after a restart from the dump")


@test("redis.benchmark", timeout=200, needs=["redis-benchmark"])
def benchmark(case):
    port = free_port()
    with start(case, port, "benchmark") as server, Client(port) as client:
        requests = str(case.size(5_000, 25_000))
        for tests, *options in ((SMALL, "-d", "40"), (LARGE, "-d", "3000", "-P", "16"),
                                (SMALL, "-d", "200", "-P", "4", "--threads", "2")):
            done = case.run([case.program("redis-benchmark"), "-p", str(port), "--csv", "-n", requests, "-r", "5000",
                             "-t", tests, *options])
            rows = re.findall(r'^"([A-Z].*?)","([0-9.]+)"', done.out, re.M)
            check(len(rows) >= len(tests.split(",")), "redis-benchmark: rows are missing", done.out)
            check("ERR" not in done.out + done.err, "redis-benchmark: an error", done.out + done.err)
        check_jemalloc_idle(server, client)
        check(client.ask("DBSIZE") > 1000, "too few keys after the benchmark")
