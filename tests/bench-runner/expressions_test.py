"""--assert and compare, on results made up here."""

import contextlib
import io
import unittest

from runner import compare, expressions
from runner.errors import UsageError


def entry(*values):
    return {"median": sorted(values)[len(values) // 2], "low": min(values), "high": max(values), "runs": len(values)}


def results(neap, glibc=entry(50, 51, 52), **more):
    return {
        "summary": {
            "burst": {"neap": {"mean_mb": neap, **more}, "glibc-arena2": {"mean_mb": glibc}},
            "other": {"neap": {}},
        }
    }


def failed(text, whole):
    """(how many do not hold, what is said)"""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        return expressions.check_all([text], whole), said.getvalue()


class Assertions(unittest.TestCase):
    def test_holds(self):
        whole = results(entry(10, 11, 12))
        for text in (
            "neap.mean_mb <= 11",
            "neap.mean_mb*4 < glibc_arena2.mean_mb",
            "b*: neap.mean_mb < 100 / 2",
            "neap.mean_mb > 10 and neap.mean_mb < 12",
            "10 < neap.mean_mb < 12",
            "-neap.mean_mb < 0",
        ):
            self.assertEqual(failed(text, whole)[0], 0, text)

    def test_fails_and_says_why(self):
        count, said = failed("burst: neap.mean_mb <= 0.2 * glibc_arena2.mean_mb", results(entry(10, 11, 12)))
        self.assertEqual(count, 1)
        self.assertIn(
            "failed for burst: neap.mean_mb <= 0.2 * glibc_arena2.mean_mb: neap.mean_mb is 11, "
            "glibc_arena2.mean_mb is 51",
            said,
        )

    def test_never_is_later_than_any_time(self):
        never = {"median": None, "low": None, "high": None, "runs": 1, "watched_s": 10}
        count, said = failed("neap.giveback_s < 1000000", results(entry(1), giveback_s=never))
        self.assertEqual(count, 1)
        self.assertIn("neap.giveback_s is never", said)

    def test_bad_ones(self):
        for text, why in (
            ("neap.mean_mb", "no comparison"),
            ("neap.weight < 3", "no figure 'weight'; there are: mean_mb"),
            ("neap.mean_mb < ", "invalid syntax"),
            ("f(neap) < 3", "neither a number nor"),
            ("neap.mean_mb < 'x'", "neither a number nor"),
            ("neap.mean_mb ** 2 < 3", "neither a number nor"),
            ("__import__('os').mean_mb < 3", "neither a number nor"),
        ):
            with self.assertRaises(UsageError, msg=text) as caught:
                expressions.parse(text)
            self.assertIn(why, str(caught.exception))

    def test_what_nobody_has_is_an_error_not_a_pass(self):
        for text, why in (
            ("jemalloc.mean_mb < 3", "no workload has jemalloc.mean_mb"),
            ("size*: neap.mean_mb < 3", "no workload is called 'size*'"),
        ):
            with self.assertRaises(UsageError) as caught:
                failed(text, results(entry(1)))
            self.assertIn(why, str(caught.exception))


class Compare(unittest.TestCase):
    def judged(self, before, after):
        return compare.compare(results(before), results(after), lambda name: name == "neap")

    def test_worse_better_and_noise(self):
        text, worse = self.judged(entry(10, 11, 12), entry(14, 15, 16))
        self.assertEqual(worse, 1)
        self.assertRegex(text, r"burst +neap +mean R, MB +11\.0 +15\.0 +\+36\.4 % +worse")
        self.assertEqual(self.judged(entry(14, 15, 16), entry(10, 11, 12))[1], 0)
        text, worse = self.judged(entry(10, 11, 12), entry(11, 12, 13))  # the runs' ranges overlap
        self.assertEqual(worse, 0)
        self.assertIn("0 worse, 0 better, 1 the same", text)
        self.assertEqual(self.judged(entry(100, 100, 100), entry(102, 102, 102))[1], 0)  # below 3 %

    def test_one_run_needs_ten_percent(self):
        self.assertEqual(self.judged(entry(100), entry(108))[1], 0)
        self.assertEqual(self.judged(entry(100), entry(120))[1], 1)

    def test_more_throughput_is_better(self):
        before, after = ({"summary": {"w": {"a": {"throughput": entry(value)}}}} for value in (100, 50))
        self.assertEqual(compare.compare(before, after, bool)[1], 1)
        self.assertEqual(compare.compare(after, before, bool)[1], 0)


if __name__ == "__main__":
    unittest.main()
