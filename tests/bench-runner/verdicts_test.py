"""Which allocator is to be taken, and what is won and lost."""

import unittest

from runner import verdicts


def entry(*values):
    return {"median": sorted(values)[len(values) // 2], "low": min(values), "high": max(values), "runs": len(values)}


def rows(**allocators):
    """name=(MB, CPU seconds), each a number or the numbers of several runs."""

    def each(value):
        return entry(*(value if isinstance(value, tuple) else (value,)))

    return {name: {"mean_mb": each(memory), "cpu_s": each(cpu)} for name, (memory, cpu) in allocators.items()}


def taken(**allocators):
    return [name for name, cell in verdicts.cells(rows(**allocators)).items() if cell.is_taken]


class Taken(unittest.TestCase):
    def test_least_memory_at_about_the_same_cpu(self):
        self.assertEqual(taken(a=(100, 1.0), b=(50, 1.1), c=(70, 0.98)), ["b"])

    def test_not_at_any_price(self):
        self.assertEqual(taken(a=(100, (1.0, 1.01, 1.02)), b=(50, (1.2, 1.21, 1.22))), ["a"])
        self.assertEqual(
            taken(a=(100, (1.0, 1.01, 1.02)), b=(50, (1.16, 1.17, 1.2))), ["b"]
        )  # the runs reach 1.15 times

    def test_one_run_proves_less(self):
        self.assertEqual(taken(a=(100, 1.0), b=(50, 1.25)), ["b"])
        self.assertEqual(taken(a=(100, 1.0), b=(50, 1.3)), ["a"])

    def test_as_good(self):
        cells = verdicts.cells(rows(a=((50, 51, 52), 1.0), b=((51, 52, 53), 1.0), c=((60, 61, 62), 1.0)))
        self.assertEqual([name for name, cell in cells.items() if cell.is_as_good], ["a", "b"])

    def test_ratios_are_of_the_least(self):
        cells = verdicts.cells(rows(a=(100, 2.0), b=(50, 1.0)))
        self.assertEqual((cells["a"].memory, cells["a"].cpu, cells["b"].memory), (2, 2, 1))
        scores, count = verdicts.overall({"w": rows(a=(100, 2.0), b=(50, 1.0)), "v": rows(a=(10, 1.0), b=(80, 1.0))})
        self.assertEqual(count, 2)
        self.assertAlmostEqual(scores["a"][0], 2**0.5)
        self.assertAlmostEqual(scores["b"][0], 8**0.5)


class Contests(unittest.TestCase):
    def test_against_the_best_other(self):
        wins, losses, draws = verdicts.contests({"w": rows(neap=(50, 2.0), a=(60, 1.0), b=(90, 3.0))})
        self.assertEqual([(each.figure, each.rival) for each in wins], [("mean_mb", "a")])
        self.assertEqual([(each.figure, each.rival, each.ratio) for each in losses], [("cpu_s", "a", 2.0)])
        self.assertEqual(draws, [])

    def test_widest_first_and_even_ones_apart(self):
        summary = {f"w{n}": rows(neap=(100 + n, 1.0), a=(100, 1.0)) for n in (20, 60, 5)}
        wins, losses, draws = verdicts.contests(summary)
        self.assertEqual([each.workload for each in losses], ["w60", "w20"])
        self.assertEqual((wins, len(draws)), ([], 4))

    def test_more_throughput_is_a_win(self):
        summary = {"w": {"neap": {"throughput": entry(200)}, "a": {"throughput": entry(100)}}}
        wins, losses, _ = verdicts.contests(summary)
        self.assertEqual(([each.ratio for each in wins], losses), ([0.5], []))

    def test_never_is_worse_than_late(self):
        never = {"median": None, "low": None, "high": None, "runs": 3, "watched_s": 10}
        _, losses, _ = verdicts.contests({"w": {"neap": {"giveback_s": never}, "a": {"giveback_s": entry(3, 3, 3)}}})
        self.assertEqual([each.figure for each in losses], ["giveback_s"])

    def test_a_drift_counts_where_it_is_a_climb(self):
        def drift(slope, least, most):
            return {"drift": {**entry(slope), "interval": [least, most]}}

        noise, fall, climb = drift(170, -20, 300), drift(-25, -40, -10), drift(400, 300, 500)
        self.assertEqual(verdicts.flags_of(climb, 1), ["climbs 400 KB a cycle"])
        for flat in (noise, fall, drift(2, 1, 3)):  # the last is less than a page
            self.assertEqual(verdicts.flags_of(flat, 1), [])
        self.assertEqual([len(each) for each in verdicts.contests({"w": {"neap": noise, "a": fall}})], [0, 0, 1])
        _, losses, _ = verdicts.contests({"w": {"neap": climb, "a": fall}})
        self.assertEqual([each.ratio for each in losses], [None])
        wins, _, _ = verdicts.contests({"w": {"neap": climb, "a": drift(800, 700, 900)}})
        self.assertEqual([each.ratio for each in wins], [0.5])


if __name__ == "__main__":
    unittest.main()
