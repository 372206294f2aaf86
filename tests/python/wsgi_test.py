"""Tests of neap.wsgi: the middleware by itself, and the example of the README under gunicorn. Run under neap with
PYTHONMALLOC=malloc, and without neap: NEAP_EXPECTED says which it is."""

import concurrent.futures
import gc
import io
import logging
import types
import unittest
import wsgiref.util
import wsgiref.validate

import neap
from neap import wsgi
from serving import EXPECTED, KIB, Gunicorn, ended, needs_neap


def request(label):
    environ = {"QUERY_STRING": "", "werkzeug.request": types.SimpleNamespace(url_rule=types.SimpleNamespace(rule=label))}
    wsgiref.util.setup_testing_defaults(environ)
    return environ


class Client:
    """A server's side of a call."""

    def __init__(self, app, rule, **options):
        self.status = None
        self.body = wsgi.ScopeMiddleware(app, **options)(request(rule), self.start)

    def start(self, status, headers, exc_info=None):
        self.status = status

    def read(self):
        text = b"".join(self.body)
        self.body.close()
        return text


class Middleware(unittest.TestCase):
    def test_application_sees_the_call(self):
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            self.assertEqual(neap.current() is not None, EXPECTED)
            return [b"a", environ["PATH_INFO"].encode()]

        middleware = wsgiref.validate.validator(wsgi.ScopeMiddleware(wsgiref.validate.validator(app), limit=1 << 20))
        body = middleware(request("/valid"), lambda status, headers, exc_info=None: None)
        self.assertEqual(b"".join(body), b"a/")
        body.close()
        self.assertEqual(ended("/valid"), int(EXPECTED))

    @needs_neap
    def test_ends_with_close(self):
        def app(environ, start_response):
            return Body()

        class Body(list):
            def __init__(self):
                super().__init__([b"x", b"y"])

            def close(self):
                states.append((neap.current() is not None, ended("/close")))

        states = []
        client = Client(app, "/close")
        self.assertEqual(len(client.body), 2)
        self.assertEqual(client.read(), b"xy")
        self.assertEqual((states, ended("/close")), ([(True, 0)], 1))
        client.body.close()
        self.assertEqual(ended("/close"), 1)

    @needs_neap
    def test_what_is_yielded_is_in_the_scope(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            for _ in range(10):
                kept.append(bytearray(10 * KIB))
                yield b"x"

        kept = []
        first, second = Client(app, "/yield"), Client(app, "/yield")
        scopes = [first.body._request.scope, second.body._request.scope]
        iterators = iter(first.body), iter(second.body)
        for _ in range(5):
            next(iterators[0])
        next(iterators[1])
        live = [scope.stats()["live_bytes"] // KIB for scope in scopes]
        self.assertTrue(50 <= live[0] < 70 and 10 <= live[1] < 20, live)
        self.assertRaises(RuntimeError, scopes[0].leave)
        first.body.close()
        self.assertEqual(ended("/yield"), 1)
        del second, iterators, scopes  # a server that forgets to close
        gc.collect()
        self.assertEqual(ended("/yield"), 2)

    @needs_neap
    def test_file_of_the_server_passes(self):
        def app(environ, start_response):
            return environ["wsgi.file_wrapper"](io.BytesIO(b"x"))

        environ = {**request("/file"), "wsgi.file_wrapper": wsgiref.util.FileWrapper}
        body = wsgi.ScopeMiddleware(app)(environ, None)
        self.assertIs(type(body), wsgiref.util.FileWrapper)
        self.assertEqual(ended("/file"), 1)

    def test_exceptions_pass(self):
        def app(environ, start_response):
            raise KeyError("x")

        def late(environ, start_response):
            yield b"x"
            raise KeyError("y")

        for limit in (0, 1 << 20):
            self.assertRaises(KeyError, Client, app, "/raises", limit=limit)
            client = Client(late, "/raises", limit=limit)
            self.assertRaises(KeyError, list, client.body)
            client.body.close()
        self.assertEqual(ended("/raises"), 4 if EXPECTED else 0)

    @needs_neap
    def test_labels(self):
        def app(environ, start_response):
            return []

        Client(app, "/own", label=lambda environ: "own " + environ["werkzeug.request"].url_rule.rule).read()
        environ = {"PATH_INFO": "/secret", "werkzeug.request": types.SimpleNamespace(url_rule=None)}
        wsgi.ScopeMiddleware(app)(environ, None).close()
        wsgi.ScopeMiddleware(wsgi.ScopeMiddleware(app))(request("/twice"), None).close()
        self.assertEqual((ended("own /own"), ended("/twice")), (1, 1))
        self.assertNotIn("secret", neap.report())

    @needs_neap
    def test_limit(self):
        def app(environ, start_response):
            kept = bytearray(100 * KIB)
            kept += bytearray(1 << 20)
            start_response("200 OK", [])
            return [b"x"]

        def caught(environ, start_response):
            try:
                bytearray(1 << 20)
            except MemoryError:
                start_response("500 Internal Server Error", [])
            return [b"x"]

        def unlucky(environ, start_response):
            start_response("500 Internal Server Error", [])
            return [b"x"]

        def begun(environ, start_response):
            start_response("200 OK", [])
            bytearray(1 << 20)

        for each, limit, status in ((app, 500, "503"), (caught, 500, "503"), (unlucky, 500, "500"), (app, 4000, "200")):
            client = Client(each, "/limited", limit=limit * KIB)
            if status == "503":
                with self.assertLogs("neap", logging.WARNING) as logs:
                    self.assertIn(b"Service Unavailable", client.read())
                self.assertIn(f"/limited: a request was refused more than {limit * KIB} bytes", logs.output[0])
            else:
                self.assertEqual(client.read(), b"x")
            self.assertEqual(client.status[:3], status)
        self.assertRaises(MemoryError, Client, begun, "/limited", limit=500 * KIB)
        self.assertEqual(ended("/limited"), 5)


MORE = """

import threading

together = threading.Barrier(8)


@app.get("/steps/<int:size>")
def steps(size):
    "Allocates in 20 steps, at the same time as others; answers what its scope has counted."
    together.wait(20)
    scope = neap.current()
    before = scope.stats()["live_bytes"]
    kept = []
    for _ in range(20):
        kept.append(bytearray(size))
        together.wait(20)
    return str(scope.stats()["live_bytes"] - before)
"""
KINDS = {"sync": [], "gthread": ["--threads", "8"]}


class Server(unittest.TestCase):
    @needs_neap
    def test_threads_stay_apart(self):
        sizes = [1000 * (n + 1) for n in range(8)]
        with Gunicorn("flask_app", MORE, options=KINDS["gthread"]) as server:
            answers = server.get_all([f"/steps/{size}" for size in sizes])
            self.assertEqual(server.report({"/steps/<int:size>": 8})["/steps/<int:size>"][1], 8)
        for size, (status, body) in zip(sizes, answers):
            self.assertEqual(status, 200)
            self.assertTrue(20 * size <= int(body) < 20 * size * 1.2 + 5000, (size, body))

    @needs_neap
    def test_report_names_the_route_that_keeps(self):
        for kind, options in KINDS.items():
            with self.subTest(kind), Gunicorn("flask_app", options=options) as server:
                for n in range(20):
                    paths = [f"/items/{n}", f"/thumbnails/{n}", f"/sums/{n}", "/rows/100"]
                    self.assertEqual({status for status, _ in map(server.get, paths)}, {200})
                labels = ("/items/<int:number>", "/thumbnails/<int:number>", "/sums/<int:count>", "/rows/<int:count>")
                report = server.report(dict.fromkeys(labels, 20))
                self.assertEqual(next(iter(report)), "/thumbnails/<int:number>")
                surviving, scopes, _ = report["/thumbnails/<int:number>"]
                self.assertGreater(surviving, 20 * 100_000)
                self.assertEqual(scopes, 20)
                self.assertEqual(report["/rows/<int:count>"][1], 20)
                self.assertLess(report["/items/<int:number>"][0], 20 * 4000)  # what it keeps, 5 kB, is exempt

    @needs_neap
    def test_limit(self):
        with Gunicorn("flask_app", options=KINDS["gthread"]) as server:
            answers = server.get_all(["/sums/4000000", "/items/1"] * 4)
            self.assertEqual([status for status, _ in answers], [503, 200] * 4)
            self.assertGreaterEqual(server.report({"/sums/<int:count>": 4})["/sums/<int:count>"][2], 4)
            self.assertEqual(server.get("/sums/1000"), (200, '{"sum":499500}\n'))
            self.assertIn("/sums/<int:count>: a request was refused more than 67108864 bytes", server.log())

    def test_works_and_says_nothing(self):
        """With and without neap, forked from a parent that has loaded the application, too."""
        rows = "".join(f"{n}\n" for n in range(50))
        for options in (*KINDS.values(), ["--preload", "--workers", "2"]):
            with self.subTest(options), Gunicorn("flask_app", options=options) as server:
                answers = server.get_all(["/items/1", "/thumbnails/2", "/sums/3", "/rows/50"] * 5)
                self.assertEqual(answers, [(200, '{"number":1,"price":"9.99"}\n'), (200, '{"bytes":100000}\n'),
                                           (200, '{"sum":3}\n'), (200, rows)] * 5)
                status, report = server.get("/scopes")
                self.assertEqual((status, bool(report)), (200, EXPECTED))
                self.assertEqual(server.log(), "")


if __name__ == "__main__":
    unittest.main()
