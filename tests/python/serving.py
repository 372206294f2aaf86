"""What the tests share: the examples of tools/python/README.md as servers, and what asks them."""

import concurrent.futures
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
README = os.path.join(ROOT, "tools/python/README.md")
EXPECTED = os.environ.get("NEAP_EXPECTED") == "1"
KIB = 1024
needs_neap = unittest.skipUnless(EXPECTED, "without neap")


def ended(label):
    """How many scopes of the label have ended, as the report says."""
    import neap  # throughput.py runs without it

    counts = [line.split(maxsplit=7) for line in neap.report().splitlines()]
    return sum(int(fields[4]) for fields in counts if fields[7:] == [label])


def example(name):
    """The code of an example, which begins with its name."""
    with open(README, encoding="utf-8") as readme:
        return re.search(f"```python\n# {name}.py\n(.*?)```", readme.read(), re.S)[1]


class Server:
    """A server of an example, to which `more` is appended. A context manager that ends it."""

    def __init__(self, name, more="", options=(), environment=()):
        self._directory = tempfile.TemporaryDirectory(prefix="neap-python-test-")
        with open(os.path.join(self._directory.name, f"{name}.py"), "w", encoding="utf-8") as file:
            file.write(example(name) + more)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self._log = open(os.path.join(self._directory.name, "log"), "w+", encoding="utf-8")
        command = [*self.command(name), *options]
        self.process = subprocess.Popen(command, cwd=self._directory.name, stdout=self._log, stderr=self._log,
                                        env={**os.environ, **dict(environment)}, start_new_session=True)
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    self.__exit__()
                    raise AssertionError(f"{command} did not start") from None
                time.sleep(0.05)

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def get(self, path, timeout=60):
        """Status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def get_all(self, paths):
        """All at once."""
        with concurrent.futures.ThreadPoolExecutor(len(paths)) as executor:
            return list(executor.map(self.get, paths))

    def report(self, wanted=()):
        """By label: surviving bytes, how many scopes, and how often refused. `wanted`: so many scopes of these labels are
        waited for. A request's ends when its answer is with the client already."""
        until = time.monotonic() + 20
        while True:
            _, text = self.get("/scopes")
            found = {}
            for line in text.splitlines()[1:]:
                fields = line.split(maxsplit=7)
                found[fields[7] if len(fields) == 8 else ""] = (int(fields[0]), int(fields[4]), int(fields[6]))
            ended = all(found.get(label, (0, 0))[1] >= count for label, count in dict(wanted).items())
            if ended or time.monotonic() > until:
                return found
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.status = None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.last_words = self.log()
        self._log.close()
        self._directory.cleanup()
        if self.status not in (0, -signal.SIGTERM):
            raise AssertionError(f"the server ended with {self.status}:\n{self.last_words[-3000:]}")


class Uvicorn(Server):
    def command(self, name):
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", *where, f"{name}:app"]


class Gunicorn(Server):
    def command(self, name):
        return [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}", "--log-level", "warning",
                f"{name}:app"]
