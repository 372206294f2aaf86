"""Tests of neap.Scope and what else the package exports. Run under neap with PYTHONMALLOC=malloc, and without neap,
where scopes keep their manners but do nothing: NEAP_EXPECTED says which it is."""

import asyncio
import concurrent.futures
import contextvars
import errno
import gc
import importlib.util
import os
import sys
import threading
import types
import unittest

import neap
from serving import KIB, needs_neap


def allocated(scope):
    return scope.stats()["allocated_bytes"]


def live(scope):
    return scope.stats()["live_bytes"]


def ended(label):
    """The figures of a label in the report."""
    for line in neap.report().splitlines():
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[7] == label:
            names = ("surviving_bytes", "surviving_objects", "bytes", "objects", "scopes", "peak", "refused")
            return types.SimpleNamespace(**dict(zip(names, map(int, fields))))
    return None


def in_thread(function):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(function).result()


@types.coroutine
def give(value):
    return (yield value)


async def wait_once(value):
    return await give(value)


def steps_type():
    steps = neap.Scope().run(wait_once(0))
    steps.close()
    return type(steps)


class Scopes(unittest.TestCase):
    def test_is_where_it_is_expected(self):
        self.assertEqual(neap.available(), os.environ["NEAP_EXPECTED"] == "1")
        self.assertEqual(bool(neap.report()), neap.available())

    @needs_neap
    def test_counts_what_is_allocated_inside(self):
        scope = neap.Scope()
        outside = bytearray(100 * KIB)
        with scope:
            inside = bytearray(100 * KIB)
        self.assertLess(100 * KIB, live(scope))
        self.assertLess(live(scope), 120 * KIB)
        del inside, outside
        self.assertLess(live(scope), 20 * KIB)

    @needs_neap
    def test_small_objects_come_from_malloc(self):
        scope = neap.Scope()
        with scope:
            numbers = [float(n) for n in range(1000)]
        self.assertGreater(scope.stats()["live_objects"], 800)
        self.assertEqual(len(numbers), 1000)

    @needs_neap
    def test_report_counts_survivors_by_label(self):
        kept = []
        for n in range(3):
            scope = neap.Scope(label="first label")
            with scope:
                kept.append(bytearray(50 * KIB))
                bytearray(70 * KIB)
            scope.set_label("kept é")
            scope.end()
        figures = ended("kept é")
        self.assertEqual(figures.scopes, 3)
        self.assertLess(150 * KIB, figures.surviving_bytes)
        self.assertLess(figures.surviving_bytes, 200 * KIB)
        self.assertLess(360 * KIB, figures.bytes)
        self.assertIsNone(ended("first label"))
        self.assertEqual([len(k) for k in kept], [50 * KIB] * 3)

    def test_survivors_stay_as_they_are(self):
        kept = []
        for n in range(200):
            scope = neap.Scope()
            with scope:
                kept.append([str(n) * 10, {n: [n] * 20}])
                list(range(1000))
            scope.end()
        self.assertEqual(kept, [[str(n) * 10, {n: [n] * 20}] for n in range(200)])

    def test_wrong_use(self):
        scope = neap.Scope("label", limit=0)
        self.assertRaises(RuntimeError, scope.leave)
        self.assertTrue(scope.enter())
        scope.leave()
        self.assertRaises(RuntimeError, scope.leave)
        scope.end()
        scope.end()
        self.assertTrue(scope.ended)
        self.assertFalse(scope.enter())
        self.assertRaises(RuntimeError, scope.leave)
        self.assertRaises(ValueError, scope.stats)
        self.assertRaises(ValueError, scope.set_label, "x")
        self.assertRaises(ValueError, neap.Scope, limit=-1)
        self.assertRaises(TypeError, neap.Scope, 5)
        self.assertRaises(OverflowError, neap.Scope, None, 1 << 70)
        self.assertRaises(AttributeError, scope.run, 5)
        with self.assertRaises(UnicodeEncodeError):
            neap.Scope("\ud800")
        with self.assertRaises(RuntimeError):
            steps_type()().send(None)

    def test_one_thread_at_a_time(self):
        scope = neap.Scope()
        with scope:
            before = allocated(scope)

            def other():
                self.assertFalse(scope.enter())
                self.assertRaises(RuntimeError, scope.leave)
                with scope:
                    kept = bytearray(500 * KIB)
                if neap.available():
                    with self.assertRaises(OSError) as caught:
                        scope.stats()
                    self.assertEqual(caught.exception.errno, errno.EBUSY)
                return kept

            kept = in_thread(other)
            self.assertLess(allocated(scope) - before, 100 * KIB)
        self.assertTrue(in_thread(lambda: scope.enter() and scope.leave() is None))
        self.assertEqual(len(kept), 500 * KIB)

    def test_ends_when_left_by_who_is_inside(self):
        scope = neap.Scope("ends later")
        entered, go = threading.Event(), threading.Event()

        def inside():
            with scope:
                entered.set()
                go.wait(10)
            return scope.ended

        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            result = executor.submit(inside)
            entered.wait(10)
            scope.end()
            self.assertTrue(scope.ended)
            self.assertIsNone(ended("ends later"))
            go.set()
            self.assertTrue(result.result())
        if neap.available():
            self.assertEqual(ended("ends later").scopes, 1)

    @needs_neap
    def test_ends_when_collected(self):
        scope = neap.Scope("collected")
        with scope:
            pass
        self.assertIsNone(ended("collected"))
        del scope
        self.assertEqual(ended("collected").scopes, 1)

    @needs_neap
    def test_nests(self):
        outer, inner = neap.Scope(), neap.Scope()
        with outer, inner:
            with inner:
                kept = [bytearray(100 * KIB)]
            kept.append(bytearray(100 * KIB))
        with outer:
            kept.append(bytearray(50 * KIB))
        self.assertLess(200 * KIB, live(inner))
        self.assertLess(50 * KIB, live(outer))
        self.assertLess(live(outer), 90 * KIB)

    @needs_neap
    def test_left_in_another_order(self):
        """As greenlets do."""
        first, second, third = neap.Scope(), neap.Scope(), neap.Scope()
        first.enter()
        second.enter()
        third.enter()
        first.leave()
        kept = [bytearray(100 * KIB)]
        third.leave()
        kept.append(bytearray(200 * KIB))
        second.leave()
        kept.append(bytearray(500 * KIB))
        self.assertEqual([live(s) // (90 * KIB) for s in (first, second, third)], [0, 2, 1])
        self.assertRaises(RuntimeError, first.leave)

    @needs_neap
    def test_limit(self):
        scope = neap.Scope("limited", limit=1000 * KIB)
        with scope:
            kept = bytearray(900 * KIB)
            with self.assertRaises(MemoryError):
                bytearray(200 * KIB)
            with self.assertRaises(MemoryError):
                list(range(100_000))
            with neap.exempt():
                more = bytearray(200 * KIB)
            del kept
            again = bytearray(900 * KIB)
        also = bytearray(2000 * KIB)
        self.assertGreaterEqual(scope.stats()["refused"], 2)
        self.assertEqual(len(more) + len(again) + len(also), 3100 * KIB)

    @needs_neap
    def test_exempt(self):
        scope = neap.Scope()
        with scope:
            with neap.exempt(), neap.exempt():
                kept = [bytearray(300 * KIB)]
                with neap.Scope() as inner:
                    kept.append(bytearray(300 * KIB))
                kept.append(bytearray(300 * KIB))
            self.assertLess(allocated(scope), 100 * KIB)
            kept.append(bytearray(300 * KIB))
        self.assertLess(300 * KIB, live(scope))
        self.assertLess(300 * KIB, live(inner))
        self.assertLess(live(inner), 500 * KIB)

    def test_exempt_without_scope(self):
        section = neap.exempt()
        with section:
            with self.assertRaises(RuntimeError):
                section.__enter__()
        with section:
            pass

    @needs_neap
    def test_exempt_ends_when_collected(self):
        section = neap.exempt()
        with neap.Scope() as scope:
            section.__enter__()
            del section
            kept = bytearray(100 * KIB)
            self.assertLess(len(kept), live(scope))

    def test_fork(self):
        scope, other = neap.Scope("forked"), neap.Scope()
        entered, go = threading.Event(), threading.Event()

        def stay():
            with other:
                entered.set()
                go.wait(20)

        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            executor.submit(stay)
            entered.wait(10)
            with scope:
                child = os.fork()
                if child == 0:
                    status = 1
                    try:
                        kept = [str(n) for n in range(10_000)]
                        scope.leave()
                        scope.end()
                        other.end()
                        with neap.Scope() as fresh:
                            kept.append(bytearray(100 * KIB))
                        if not neap.available() or live(fresh) > 100 * KIB:
                            status = 0
                    finally:
                        os._exit(status)
                kept = [str(n) for n in range(10_000)]
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            self.assertFalse(scope.ended)
            self.assertEqual(kept[-1], "9999")
            go.set()
        scope.end()
        if neap.available():
            self.assertEqual(ended("forked").scopes, 1)

    @unittest.skipUnless(importlib.util.find_spec("_xxsubinterpreters"), "no subinterpreters")
    def test_subinterpreter(self):
        import _xxsubinterpreters as interpreters

        code = f"""if True:
            import sys
            sys.path[:] = {sys.path!r}
            import neap
            assert neap.available() == {neap.available()}
            with neap.Scope("interpreter") as scope, neap.Scope() as inner, neap.exempt():
                kept = [str(n) for n in range(1000)]
            scope.end()
            """
        with neap.Scope() as scope:
            interpreter = interpreters.create()
            interpreters.run_string(interpreter, code)
            interpreters.destroy(interpreter)
        self.assertFalse(scope.ended)
        if neap.available():
            self.assertEqual(ended("interpreter").scopes, 1)


class Steps(unittest.TestCase):
    def test_passes_what_goes_in_and_out(self):
        async def inner():
            got = [await give(1)]
            try:
                got.append(await give(2))
            except KeyError as error:
                scope.leave()  # it is entered
                scope.enter()
                got.append(error.args[0])
            return got

        scope = neap.Scope()

        async def outer():
            return await scope.run(inner())

        coroutine = outer()
        self.assertEqual(coroutine.send(None), 1)
        self.assertEqual(coroutine.send("a"), 2)
        with self.assertRaises(StopIteration) as stopped:
            coroutine.throw(KeyError("b"))
        self.assertEqual(stopped.exception.value, ["a", "b"])
        self.assertRaises(RuntimeError, scope.leave)

    def test_gives_any_result(self):
        async def inner(result):
            return result

        for result in (None, 1, (), (1, 2), ValueError("a value")):
            for resume in (next, lambda steps: steps.send(None)):
                with self.assertRaises(StopIteration) as stopped:
                    resume(neap.Scope().run(inner(result)))
                self.assertIs(stopped.exception.value, result)

    def test_exceptions_come_out(self):
        async def inner():
            await give(1)
            raise KeyError("inner")

        steps = neap.Scope().run(inner())
        self.assertEqual(next(steps), 1)
        self.assertRaises(KeyError, steps.send, None)
        self.assertRaises(RuntimeError, steps.send, None)  # cannot reuse already awaited coroutine

    def test_close(self):
        closed = []

        async def inner():
            try:
                await give(1)
            finally:
                closed.append(bool(scope.leave()) or scope.enter())  # it is entered

        scope = neap.Scope()
        steps = scope.run(inner())
        next(steps)
        steps.close()
        self.assertEqual(closed, [True])
        self.assertRaises(RuntimeError, scope.leave)

    @needs_neap
    def test_interleaved_tasks_stay_apart(self):
        async def work(size):
            kept = []
            for _ in range(20):
                kept.append(bytearray(size))
                await asyncio.sleep(0)
            return kept

        async def main():
            scopes = [neap.Scope() for _ in range(64)]
            tasks = [scope.run(work(100 * (n + 1))) for n, scope in enumerate(scopes)]
            kept = await asyncio.gather(*map(wrap, tasks))
            for n, scope in enumerate(scopes):
                self.assertLess(2000 * (n + 1), live(scope))
                self.assertLess(live(scope), 2000 * (n + 1) * 1.2 + 5000)
            return kept

        async def wrap(steps):
            return await steps

        asyncio.run(main())

    @needs_neap
    def test_cancelled_tasks_are_left_and_collected(self):
        async def work():
            kept = [bytearray(1000)]
            await asyncio.sleep(100)
            return kept

        async def request():
            scope = neap.Scope("cancelled")
            await scope.run(work())

        async def main():
            tasks = [asyncio.ensure_future(request()) for _ in range(100)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(main())
        gc.collect()
        self.assertEqual(ended("cancelled").scopes, 100)

    @needs_neap
    def test_dropped_cycle_is_collected(self):
        async def work():
            await give(cycle)

        cycle = []
        steps = neap.Scope("dropped").run(work())
        cycle.append(steps)
        next(steps)
        del steps, cycle, work
        self.assertIsNone(ended("dropped"))
        gc.collect()
        self.assertEqual(ended("dropped").scopes, 1)

    @needs_neap
    def test_exempt_over_awaits(self):
        async def work():
            with neap.exempt():
                kept = [bytearray(200 * KIB)]
                await give(1)
                kept.append(bytearray(200 * KIB))
            kept.append(bytearray(50 * KIB))
            await give(2)
            return kept

        scope, other = neap.Scope(), neap.Scope()
        steps = scope.run(work())
        next(steps)
        with other:
            kept = bytearray(100 * KIB)
        next(steps)
        self.assertLess(live(scope), 90 * KIB)
        self.assertLess(50 * KIB, live(scope))
        self.assertLess(100 * KIB, live(other))
        with scope:
            kept = [kept, bytearray(100 * KIB)]
        self.assertLess(150 * KIB, live(scope))

    def test_keeps_no_references(self):
        value = object()
        types = [neap.Scope, neap.exempt, steps_type()]  # their instances refer to them
        gc.collect()
        before = list(map(sys.getrefcount, types))
        for n in range(300):
            scope = neap.Scope()
            steps = scope.run(wait_once(value))
            next(steps)
            with scope, scope, neap.exempt() as nothing:
                if n % 3 == 0:
                    steps.close()
            if n % 3 == 1:
                self.assertRaises(KeyError, steps.throw, KeyError)
            self.assertIsNone(nothing)
        del scope, steps
        gc.collect()
        self.assertEqual(list(map(sys.getrefcount, types)), before)
        self.assertEqual(sys.getrefcount(value), 2)


class Scoped(unittest.TestCase):
    @needs_neap
    def test_function_in_another_thread(self):
        scope = neap.Scope()

        def work():
            return bytearray(100 * KIB)

        async def request():
            neap._current.set(scope)
            early = neap.scoped(work)  # of this request
            loop = asyncio.get_running_loop()
            kept = [await asyncio.to_thread(late), await loop.run_in_executor(None, early)]
            kept.append(await loop.run_in_executor(None, late))  # in no context of ours: outside
            return kept

        late = neap.scoped(work)
        kept = contextvars.copy_context().run(asyncio.run, request())
        self.assertLess(200 * KIB, live(scope))
        self.assertLess(live(scope), 290 * KIB)
        self.assertEqual(len(kept), 3)

    @needs_neap
    def test_coroutine_in_another_task(self):
        scope = neap.Scope()

        @neap.scoped
        async def work(size, *, more):
            await asyncio.sleep(0)
            return bytearray(size + more)

        async def request():
            self.assertEqual(len(await asyncio.create_task(work(10, more=KIB))), 10 + KIB)
            neap._current.set(scope)
            return await asyncio.create_task(work(100 * KIB, more=100 * KIB))

        kept = asyncio.run(request())
        self.assertLess(200 * KIB, live(scope))
        self.assertEqual(len(kept), 200 * KIB)

    def test_looks_like_the_function(self):
        @neap.scoped
        def work(number: int, word="x"):
            """Works."""
            return number, word, neap.current()

        self.assertEqual((work.__name__, work.__doc__), ("work", "Works."))
        self.assertEqual(work(5, word="y"), (5, "y", None))
        self.assertEqual(asyncio.iscoroutinefunction(work), False)


if __name__ == "__main__":
    unittest.main()
