"""Tests of neap.asgi: the middleware by itself, and the example of the README under uvicorn. Run under neap with
PYTHONMALLOC=malloc, and without neap: NEAP_EXPECTED says which it is."""

import asyncio
import gc
import json
import logging
import threading
import unittest
import unittest.mock

import neap
from neap import asgi
from serving import EXPECTED, KIB, Uvicorn, ended, needs_neap


def http(label="", kind="http"):
    def endpoint():
        pass

    endpoint.__module__, endpoint.__qualname__ = "here", label
    return {"type": kind, "endpoint": endpoint}


class Client:
    def __init__(self):
        self.sent = []

    async def receive(self):
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message):
        self.sent.append(message)


def serve(app, scope, **options):
    """Runs the application for a request, and answers what it sent."""
    client = Client()
    asyncio.run(asgi.ScopeMiddleware(app, **options)(scope, client.receive, client.send))
    return client.sent


class Middleware(unittest.TestCase):
    def test_application_sees_the_call(self):
        async def app(scope, receive, send):
            self.assertEqual((await receive())["type"], "http.request")
            await send({"type": "x", "scope": scope})
            self.assertEqual(neap.current() is not None, EXPECTED)

        self.assertEqual(serve(app, http("plain")), [{"type": "x", "scope": unittest.mock.ANY}])

    @needs_neap
    def test_labels(self):
        async def app(scope, receive, send):
            pass

        class Route:
            path = "/a/{b}"

        serve(app, {**http("not.this"), "route": Route})
        serve(app, http("function"))
        serve(app, {"type": "http", "endpoint": Client()})
        serve(app, {"type": "http", "path": "/secret"})
        serve(app, http("not.this"), label=lambda scope: scope["type"] + " own")
        found = [ended(label) for label in ("/a/{b}", "here.function", "__main__.Client", "http own")]
        self.assertEqual(found, [1, 1, 1, 1])
        self.assertNotIn("secret", neap.report())
        self.assertNotIn("not.this", neap.report())

    @needs_neap
    def test_own_label_stays(self):
        async def app(scope, receive, send):
            neap.current().set_label("own label")

        serve(app, {"type": "http"})
        self.assertEqual(ended("own label"), 1)

    @needs_neap
    def test_lifespan_has_no_scope_and_others_one(self):
        async def app(scope, receive, send):
            kept = bytearray(100 * KIB)
            seen.append(neap.current().stats()["live_bytes"] > len(kept) if neap.current() else None)

        seen = []
        for kind in ("lifespan", "websocket", "http"):
            serve(app, http(kind, kind))
        self.assertEqual(seen, [None, True, True])
        self.assertEqual([ended(f"here.{kind}") for kind in ("lifespan", "websocket", "http")], [0, 1, 1])

    @needs_neap
    def test_middleware_in_middleware_is_one_scope(self):
        async def app(scope, receive, send):
            neap.current()

        serve(asgi.ScopeMiddleware(app), http("twice"))
        self.assertEqual(ended("here.twice"), 1)

    def test_exceptions_pass(self):
        async def app(scope, receive, send):
            await receive()
            raise KeyError("x")

        for limit in (0, 1 << 20):
            self.assertRaises(KeyError, serve, app, http("raises"), limit=limit)
        self.assertEqual(ended("here.raises"), 2 if EXPECTED else 0)

    def test_failing_label(self):
        async def app(scope, receive, send):
            scopes.append(neap.current())

        scopes = []
        if EXPECTED:
            self.assertRaises(KeyError, serve, app, {"type": "http"}, label=lambda scope: scope["no"])
            self.assertTrue(scopes[0].ended)

    def test_cancelled(self):
        async def app(scope, receive, send):
            try:
                await asyncio.sleep(100)
            finally:
                finished.append(neap.current() is not None)

        async def main():
            middleware = asgi.ScopeMiddleware(app, limit=1 << 20)
            client = Client()
            calls = [middleware(http("cancelled"), client.receive, client.send) for _ in range(50)]
            tasks = [asyncio.ensure_future(call) for call in calls]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self.assertEqual({type(result) for result in results}, {asyncio.CancelledError})

        finished = []
        asyncio.run(main())
        self.assertEqual(finished, [EXPECTED] * 50)
        self.assertEqual(ended("here.cancelled"), 50 if EXPECTED else 0)

    @needs_neap
    def test_dropped(self):
        async def app(scope, receive, send):
            await asyncio.sleep(100)

        async def main():
            call = asgi.ScopeMiddleware(app)(http("dropped"), None, None)
            call.send(None)

        asyncio.run(main())
        gc.collect()
        self.assertEqual(ended("here.dropped"), 1)

    @needs_neap
    def test_cancelled_while_a_thread_is_inside(self):
        async def app(scope, receive, send):
            await asyncio.to_thread(neap.scoped(work))

        def work():
            entered.set()
            go.wait(10)

        async def main():
            task = asyncio.ensure_future(asgi.ScopeMiddleware(app)(http("left"), None, None))
            await asyncio.to_thread(entered.wait, 10)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.assertEqual(ended("here.left"), 0)
            go.set()

        entered, go = threading.Event(), threading.Event()
        asyncio.run(main())  # waits for its threads
        self.assertEqual(ended("here.left"), 1)

    @needs_neap
    def test_limit(self):
        async def app(scope, receive, send):
            kept = bytearray(100 * KIB)
            await receive()
            kept += bytearray(1 << 20)

        with self.assertLogs("neap", logging.WARNING) as logs:
            start, body = serve(app, http("limited"), limit=500 * KIB)
        self.assertEqual((start["status"], body["type"]), (503, "http.response.body"))
        self.assertIn(f"here.limited: a request was refused more than {500 * KIB} bytes", logs.output[0])
        self.assertRaises(MemoryError, serve, app, http("socket", "websocket"), limit=500 * KIB)
        self.assertEqual(serve(app, http(), limit=4000 * KIB), [])

    @needs_neap
    def test_limit_behind_a_framework_that_answers_500(self):
        async def app(scope, receive, send):
            try:
                bytearray(1 << 20)
            except MemoryError:
                await send({"type": "http.response.start", "status": 500, "headers": []})

        async def unlucky(scope, receive, send):
            await send({"type": "http.response.start", "status": 500, "headers": []})

        self.assertEqual(serve(app, http(), limit=500 * KIB)[0]["status"], 503)
        self.assertEqual(serve(unlucky, http(), limit=500 * KIB)[0]["status"], 500)

    @needs_neap
    def test_limit_after_the_answer_began(self):
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            bytearray(1 << 20)

        self.assertRaises(MemoryError, serve, app, http(), limit=500 * KIB)


MORE = """

import asyncio, os, threading
from fastapi import WebSocket

waiting = []


@app.get("/steps/{size}")
async def steps(size: int):
    "Allocates in 20 steps, at the same time as others; answers what its scope has counted."
    waiting.append(1)
    kept = []
    while len(waiting) < 64:
        await asyncio.sleep(0.001)
    for _ in range(20):
        kept.append(bytearray(size))
        await asyncio.sleep(0)
    scope = neap.current()
    return [os.getpid(), scope.stats()["live_bytes"] if scope else 0]


@app.get("/threads/{size}")
@neap.scoped
def threads(size: int):
    before = neap.current().stats()["live_bytes"]
    kept = bytearray(size)
    return neap.current().stats()["live_bytes"] - before


@app.get("/late/{size}")
async def late(size: int):
    raise KeyError(bytearray(size))


@app.middleware("http")
async def in_a_task(request, call_next):
    return await call_next(request)
"""
OUTERMOST = """
app = ScopeMiddleware(app, limit=64 << 20)
"""


class Server(unittest.TestCase):
    @needs_neap
    def test_interleaved_requests_stay_apart(self):
        sizes = [100 * (n + 1) for n in range(64)]
        with Uvicorn("fastapi_app", MORE) as server:
            answers = server.get_all([f"/steps/{size}" for size in sizes])
            report = server.report({"/steps/{size}": 64})
        for size, (status, body) in zip(sizes, answers):
            self.assertEqual(status, 200)
            live = json.loads(body)[1]
            self.assertLess(20 * size, live)
            self.assertLess(live, 20 * size * 1.2 + 40 * KIB)
        self.assertEqual(report["/steps/{size}"][1], 64)

    @needs_neap
    def test_report_names_the_route_that_keeps(self):
        with Uvicorn("fastapi_app") as server:
            for n in range(20):
                paths = [f"/items/{n}", f"/thumbnails/{n}", f"/sums/{n}"]
                self.assertEqual({status for status, _ in map(server.get, paths)}, {200})
            report = server.report(dict.fromkeys(("/items/{number}", "/thumbnails/{number}", "/sums/{count}"), 20))
        self.assertEqual(next(iter(report)), "/thumbnails/{number}")
        surviving, scopes, _ = report["/thumbnails/{number}"]
        self.assertGreater(surviving, 20 * 100_000)
        self.assertEqual(scopes, 20)
        self.assertEqual(report["/sums/{count}"][1], 20)
        self.assertLess(report["/items/{number}"][0], 20 * 4000)  # what it keeps, 5 kB, is exempt

    @needs_neap
    def test_limit(self):
        for outermost in (False, True):
            with self.subTest(outermost=outermost), Uvicorn("fastapi_app", OUTERMOST * outermost) as server:
                answers = server.get_all(["/sums/4000000", "/items/1"] * 4)
                self.assertEqual([status for status, _ in answers], [503, 200] * 4)
                self.assertGreaterEqual(server.report({"/sums/{count}": 4})["/sums/{count}"][2], 4)
                self.assertEqual(server.get("/sums/1000"), (200, '{"sum":499500}'))
                self.assertIn("/sums/{count}: a request was refused more than 67108864 bytes", server.log())

    @needs_neap
    def test_sync_endpoint(self):
        with Uvicorn("fastapi_app", MORE) as server:
            status, body = server.get("/threads/1000000")
        self.assertEqual(status, 200)
        self.assertLess(1_000_000, int(body))
        self.assertLess(int(body), 1_100_000)

    def test_errors_are_the_server_s(self):
        with Uvicorn("fastapi_app", MORE) as server:
            self.assertEqual(server.get("/late/10")[0], 500)
            self.assertEqual(server.get("/nowhere")[0], 404)
            self.assertIn("KeyError", server.log())

    def test_works_and_says_nothing(self):
        """With and without neap."""
        with Uvicorn("fastapi_app") as server:
            answers = server.get_all(["/items/1", "/thumbnails/2", "/sums/3"] * 20)
            self.assertEqual(answers, [(200, '{"number":1,"price":"9.99"}'), (200, '{"bytes":100000}'),
                                       (200, '{"sum":3}')] * 20)
            status, report = server.get("/scopes")
            self.assertEqual((status, bool(report)), (200, EXPECTED))
            self.assertEqual(server.log(), "")


if __name__ == "__main__":
    unittest.main()
