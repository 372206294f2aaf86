"""Allocators of which it is known what they do are shown to do it."""

import unittest

import support
from runner import verdicts
from support import installed_allocators, median


def needs(name):
    """For a test that can only be made where it is installed."""

    def decorate(test):
        def checked(self):
            if name not in installed_allocators():
                self.skipTest(f"{name} is not installed")
            test(self)

        return checked

    return decorate


def flags(workload, allocator):
    rows = support.known_answers()[1]["summary"][workload]
    return " ".join(verdicts.cells(rows)[allocator].flags)


class Return(unittest.TestCase):
    """A burst of 60 MB, of which 10 KB stay live: what is kept a second after, and whether it comes back at all."""

    @needs("jemalloc")
    def test_jemalloc_keeps(self):
        self.assertGreater(median("burst", "jemalloc", "idle_1s_mb"), 40)
        self.assertIsNone(median("burst", "jemalloc", "giveback_s"))
        self.assertRegex(flags("burst", "jemalloc"), r"keeps \d+ MB when idle")

    @needs("jemalloc-bg")
    def test_jemalloc_with_a_background_thread_returns(self):
        self.assertLess(median("burst", "jemalloc-bg", "giveback_s"), 3)
        self.assertNotIn("keeps", flags("burst", "jemalloc-bg"))

    @needs("mimalloc")
    def test_mimalloc_keeps(self):
        self.assertGreater(median("burst", "mimalloc", "idle_1s_mb"), 40)
        self.assertIsNone(median("burst", "mimalloc", "giveback_s"))

    def test_glibc_returns_after_malloc_trim(self):
        self.assertGreater(median("burst", "glibc", "idle_1s_mb"), 40)
        self.assertLess(median("burst-trim", "glibc", "idle_1s_mb"), 5)
        self.assertLess(median("burst-trim", "glibc", "giveback_s"), 0.5)


class Wrong(unittest.TestCase):
    """glibc's malloc, but one leaks and one is slow: each is shown for what it is, and not for the other."""

    def test_leak(self):
        leak = support.known_answers()[1]["summary"]["cycles"]["leaky"]["drift"]
        # 40,000 objects of 500 bytes are freed in a cycle, one in 64 is not.
        self.assertTrue(200 < leak["median"] < 450, leak)
        self.assertGreater(leak["interval"][0], 0)
        self.assertRegex(flags("cycles", "leaky"), r"climbs \d+ KB a cycle")
        for other in ("glibc", "slow", "neap"):
            self.assertNotIn("climbs", flags("cycles", other), other)

    def test_slowness(self):
        self.assertGreater(median("cycles", "slow", "cpu_s"), 1.2)  # 480,000 calls of five microseconds, or half of it
        self.assertRegex(flags("cycles", "slow"), r"slow: \d+\.\d× CPU")
        glibc = median("cycles", "glibc", "cpu_s")
        self.assertGreater(median("cycles", "slow", "cpu_s"), 2 * glibc)
        self.assertLess(median("cycles", "leaky", "cpu_s"), median("cycles", "slow", "cpu_s") / 2)  # once each: roughly

    def test_the_table_says_so(self):
        table = support.known_answers()[0].stdout
        self.assertRegex(table, r"(?m)^ +leaky .*climbs \d+ KB a cycle")
        self.assertRegex(table, r"(?m)^ +slow .*slow: \d+\.\d× CPU")


def first_of_each_phase(run):
    """{number of the phase: (live, resident)}"""
    found, samples = {}, run["samples"]
    for index, *both in zip(samples["phase"], samples["live"], samples["resident"]):
        if index >= 0:
            found.setdefault(run["phases"][index][2], both)
    return found


class SameSeed(unittest.TestCase):
    def test_same_work_and_same_memory(self):
        done = support.bake_off("same", "twenty", "neap", "--repeats", "4", "--seed", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        curves = [first_of_each_phase(run) for run in support.results("same")["runs"]]
        self.assertEqual(len(curves), 4)
        # A phase takes 120 ms, and is missed where the sampler got no processor for as long.
        seen = sorted(set.intersection(*map(set, curves)))
        self.assertGreater(len(seen), 10)
        self.assertEqual([curve[phase][0] for curve in curves for phase in seen], 4 * [curves[0][p][0] for p in seen])
        resident = [curve[seen[-1]][1] for curve in curves]
        self.assertLess(max(resident) / min(resident), 1.03, resident)


class AssertAndCompare(unittest.TestCase):
    def test_gate(self):
        known = support.path("known")
        good = support.bench("report", known, "--assert", "burst-trim: glibc.idle_1s_mb < 5")
        self.assertEqual(good.returncode, 0, good.stderr)
        bad = support.bench("report", known, "--assert", "burst: glibc.idle_1s_mb < 5")
        self.assertEqual(bad.returncode, 1, bad.stderr)
        self.assertIn("assertion failed for burst: glibc.idle_1s_mb < 5: glibc.idle_1s_mb is ", bad.stderr)

    def test_compare_with_itself(self):
        known = support.path("known/results.json")
        done = support.bench("compare", known, known)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^0 worse, 0 better, \d\d+ the same")


def setUpModule():
    support.known_answers()


if __name__ == "__main__":
    unittest.main()
