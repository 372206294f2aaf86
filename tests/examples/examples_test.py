"""Tests of docs/examples: examples_test.py --programs DIRECTORY --library libneap.so [unittest's]"""

import argparse
import concurrent.futures
import http.client
import os
import socket
import subprocess
import sys
import time
import unittest

ARGUMENTS = None
MB = 1 << 20


class Server:
    """An example that serves, from its start to the end of a `with`."""

    def __init__(self, name):
        self.process = subprocess.Popen([os.path.join(ARGUMENTS.programs, name)], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def resident(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))

    def comes_down_to(self, most, seconds=30):
        """What is resident as soon as it is no more than that, or in the end."""
        end = time.monotonic() + seconds
        while self.resident() > most and time.monotonic() < end:
            time.sleep(0.05)
        return self.resident()

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path)
        response = connection.getresponse()
        try:
            return response.status, response.read().decode()
        finally:
            connection.close()


class Client:
    """A connection to epoll_server."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self.answers = self.socket.makefile("r")

    def send(self, text):
        self.socket.sendall(text.encode())

    def ask(self, question):
        self.send(question + "\n")
        return self.answers.readline().strip()

    def close(self):
        self.answers.close()
        self.socket.close()


def by_label(report):
    """{label: {figure: number}} of neap_scope_report."""
    names = ("surviving_bytes", "surviving_objects", "bytes", "objects", "scopes", "peak", "refused")
    rows = [line.split(None, len(names)) for line in report.splitlines()[1:]]
    return {row[-1]: dict(zip(names, map(int, row))) for row in rows}


class EpollServer(unittest.TestCase):
    def test_each_connection_has_a_scope(self):
        connections, lines, length = 100, 200, 1000
        text = "".join(f"{number:0{length}}\n" for number in range(lines))
        with Server("epoll_server") as server:
            before = server.resident()
            clients = [Client(server) for _ in range(connections)]
            for begin in range(0, len(text), 70001):  # in turns, and in pieces that end within a line
                for client in clients:
                    client.send(text[begin : begin + 70001])
            for client in clients:
                self.assertEqual(client.ask("COUNT"), f"{lines} lines")
            objects, size = (int(words.split()[0]) for words in clients[0].ask("STATS").split(", "))
            self.assertEqual(objects, lines + 1)  # the connection itself
            self.assertTrue(lines * length < size < lines * length * 1.2 + 8192, size)

            peak = server.resident() - before
            self.assertGreater(peak, connections * lines * length)
            self.assertLess(peak, connections * lines * length * 1.3)
            for client in clients[1:]:
                client.close()
            self.assertLess(server.comes_down_to(before + peak // 10), before + peak // 10)
            self.assertEqual(clients[0].ask("COUNT"), f"{lines} lines")
            clients[0].close()

    def test_a_line_that_is_too_long_ends_its_connection_only(self):
        with Server("epoll_server") as server:
            good, bad = Client(server), Client(server)
            bad.send("x" * 4096)
            self.assertEqual(bad.answers.read(), "")
            self.assertEqual(good.ask("COUNT"), "0 lines")
            good.close()
            bad.close()


class ThreadedServer(unittest.TestCase):
    def test_requests_over_their_limit_fail_alone(self):
        def request(number):
            count = 2 * 10**6 if number % 3 == 0 else 1000 + number
            expected = sum(i * i for i in range(count + 1)) if count < 10**6 else None
            return expected, server.get(f"/squares/{count}")

        with Server("threaded_server") as server, concurrent.futures.ThreadPoolExecutor(8) as pool:
            server.get("/squares/10")
            before = server.resident()
            for expected, (status, body) in pool.map(request, range(120)):
                if expected is None:
                    self.assertEqual((status, body), (503, "the request needs too much memory\n"))
                else:
                    self.assertEqual((status, body), (200, f"{expected}\n"))
            status, report = server.get("/report")
            self.assertEqual(status, 200)
            squares = by_label(report)["/squares"]
            self.assertEqual((squares["scopes"], squares["refused"]), (121, 40))
            self.assertEqual((squares["surviving_bytes"], squares["surviving_objects"]), (0, 0))
            self.assertTrue(15 * MB < squares["peak"] <= 16 * MB, squares["peak"])
            self.assertLess(server.comes_down_to(before + 8 * MB), before + 8 * MB)

    def test_what_is_not_there(self):
        with Server("threaded_server") as server:
            self.assertEqual(server.get("/")[0], 404)
            self.assertEqual(server.get("/squares/0"), (200, "0\n"))


class Checker(unittest.TestCase):
    requests = [("a+b", "xaab"), ("a+b", "b"), ("^[0-9]+$", "4711"), ("(", "("), ("^[0-9]+$", "47x1")] * 200
    answers = ["yes", "no", "yes", "no", "no"] * 200

    def run_checker(self, preload):
        text = "".join("\t".join(request) + "\n" for request in self.requests) + "without a tab\n"
        result = subprocess.run([os.path.join(ARGUMENTS.programs, "checker")], input=text, capture_output=True, text=True,
                                timeout=60, env={**os.environ, "LD_PRELOAD": preload})
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        lines = result.stdout.splitlines()
        count = len(self.answers) + 1
        self.assertEqual(lines[:count], self.answers + ["a request is a pattern, a tab and a text"])
        return "\n".join(lines[count:])

    def test_nothing_of_the_cache_lies_in_a_scope(self):
        check = by_label(self.run_checker(ARGUMENTS.library))["check"]
        self.assertEqual(check["scopes"], len(self.requests) + 1)
        self.assertGreaterEqual(check["objects"], check["scopes"])
        self.assertEqual((check["surviving_bytes"], check["surviving_objects"]), (0, 0))

    def test_works_without_neap(self):
        self.assertEqual(self.run_checker(""), "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for option in ("--programs", "--library"):
        parser.add_argument(option, required=True)
    ARGUMENTS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
