"""The figures, from curves of which they are known."""

import unittest

from runner import figures, statistic
from runner.sampler import COLUMNS

MB = 1_000_000


def made_run(points, phases, **more):
    """A run from (seconds, phase, resident MB, live MB); 5 MB are resident before it."""
    samples = {name: [0] * len(points) for name in COLUMNS}
    for name, at, factor in (("t", 0, 1), ("phase", 1, 1), ("resident", 2, MB), ("live", 3, MB)):
        samples[name] = [point[at] * factor for point in points]
    samples["resident"] = [value + 5 * MB for value in samples["resident"]]
    run = {
        "samples": samples,
        "phases": [[*phase, number + 1] for number, phase in enumerate(phases)],
        "last_call": None,
        "cpu_seconds": 2.0,
        "faults": 500,
        "of_server": False,
        "output": None,
        "final": {"operations": 100_000, "floor_bytes": 0, "floor_live": 0, "p999_ns": 0},
    }
    return {**run, **more}


def found(*arguments, **more):
    return figures.of_run(made_run(*arguments, **more), "scenario")


class Memory(unittest.TestCase):
    def test_peak_mean_and_overhead(self):
        figure = found([(0, 0, 0, 0), (1, 1, 10, 8), (3, 1, 10, 8)], [[0, "start"], [0.5, "peak"]])
        self.assertAlmostEqual(figure["peak_mb"], 10)
        self.assertAlmostEqual(figure["peak_ratio"], 1.25)
        self.assertAlmostEqual(figure["mean_mb"], (5 + 20) / 3)
        self.assertAlmostEqual(figure["overhead"], (1 + 4) / (4 + 16))

    def test_only_low_windows_count_for_the_trough(self):
        points = [(0, 0, 0, 0), (1, 1, 90, 10), (2, 2, 20, 10), (3, 2, 40, 10), (5, 2, 30, 10), (8, 3, 90, 10)]
        figure = found(points, [[0, "start"], [1, "high"], [2, "low-1"], [8, "silent"]])
        self.assertAlmostEqual(figure["trough_p50"], 3)
        self.assertAlmostEqual(figure["trough_p99"], 4)

    def test_the_trough_is_weighted_by_time(self):
        """Five samples of half a second in all, where memory falls, and one that holds for two."""
        points = [(0, 0, 0, 0), *((1 + n / 10, 1, 40, 10) for n in range(5)), (1.5, 1, 30, 10), (3.5, 2, 90, 10)]
        figure = found(points, [[0, "start"], [1, "low-1"], [3.5, "silent"]])
        self.assertAlmostEqual(figure["trough_p50"], 3)
        self.assertAlmostEqual(figure["trough_p99"], 4)

    def test_without_live_bytes_nothing_is_a_ratio(self):
        figure = found([(0, 0, 0, 0), (1, 1, 10, 0), (2, 1, 10, 0)], [[0, "start"], [1, "silent"]])
        self.assertEqual({"peak_ratio", "overhead", "trough_p50", "giveback_s"} & figure.keys(), set())
        self.assertAlmostEqual(figure["idle_1s_mb"], 10)


class Return(unittest.TestCase):
    PHASES = [[0, "start"], [1, "peak"], [2, "silent"]]

    def points(self, later):
        """A peak of 100 MB, of which 10 stay live; `later` is resident from 2 seconds into the silence on."""
        return [(0, 0, 0, 0), (1, 1, 100, 100), (2, 2, 100, 10), (4, 2, later, 10), (12, 2, later, 10)]

    def test_idle(self):
        figure = found(self.points(30), self.PHASES)
        self.assertAlmostEqual(figure["idle_1s_mb"], 55)  # on the way from 90 to 20
        self.assertAlmostEqual(figure["idle_10s_mb"], 20)
        self.assertNotIn("idle_60s_mb", figure)

    def test_giveback(self):
        self.assertAlmostEqual(found(self.points(19), self.PHASES)["giveback_s"], 2)
        never = found(self.points(20), self.PHASES)
        self.assertIsNone(never["giveback_s"])
        self.assertAlmostEqual(never["watched_s"], 10)

    def test_the_workload_knows_better_when_its_last_call_was(self):
        figure = found(self.points(30), self.PHASES, last_call=2.5)
        self.assertAlmostEqual(figure["idle_1s_mb"], 90 - 70 * 1.5 / 2)

    def test_not_in_time_is_later_than_any_time(self):
        runs = [{"figures": found(self.points(later), self.PHASES)} for later in (19, 20, 20)]
        over = figures.over_runs(runs)["giveback_s"]
        self.assertEqual((over["median"], over["low"], over["high"], over["watched_s"]), (None, 2, None, 10))


class Drift(unittest.TestCase):
    def cycles(self, climb, missed=False):
        points, phases = [(0, 0, 0, 0)], [[0, "start"]]
        for cycle in range(16):
            for name, resident in ((f"cycle-{cycle + 1}", 50), ("low", 10 + climb * cycle)):
                if missed and cycle % 3 == 2 and name != "low":
                    continue
                phases.append([len(phases), name])
                points.append((len(phases), len(phases) - 1, resident, 5))
        return made_run(points, phases)

    def test_flat_and_climbing(self):
        flat = figures.of_run(self.cycles(0), "scenario")
        self.assertEqual((flat["drift"], flat["drift_low"], flat["drift_high"]), (0, 0, 0))
        climbing = figures.of_run(self.cycles(0.25), "scenario")
        self.assertAlmostEqual(climbing["drift"], 250)  # KB a cycle

    def test_cycles_too_short_to_be_seen_still_count(self):
        run = self.cycles(0.25, missed=True)
        for number, phase in enumerate(run["phases"]):  # the numbers tell of what was missed
            phase[2] = phase[2] + sum(1 for before in run["phases"][1 : number + 1] if before[1] == "low") // 3
        run["phases"] = [[t, name, n] for t, name, n in run["phases"]]
        self.assertEqual(len(figures.cycle_minima(figures.Curves(run))), 16)

    def test_outliers_do_not_move_the_slope(self):
        points = [(x, 3 * x) for x in range(20)]
        points[4], points[11] = (4, 900), (11, -500)
        slope, low, high = statistic.theil_sen(points)
        self.assertAlmostEqual(slope, 3)
        self.assertTrue(low <= 3 <= high)

    def test_the_interval_of_noise_holds_zero(self):
        values = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3]
        slope, low, high = statistic.theil_sen(list(enumerate(values[::-1] + values)))
        self.assertTrue(low < 0 < high, (slope, low, high))


class Cost(unittest.TestCase):
    def test_of_a_command(self):
        figure = found([(0, 0, 0, 0), (1, 1, 1, 1)], [[0, "start"], [1, "peak"]])
        self.assertEqual((figure["cpu_s"], figure["cpu_us_per_1000"], figure["faults_per_1000"]), (2.0, 20_000, 5))

    def test_of_a_server_without_its_clients(self):
        run = made_run(
            [(0, 0, 0, 0), (1, 1, 1, 1)],
            [[0, "start"], [1, "peak"]],
            of_server=True,
            output={"throughput": 900.5, "p99_ms": 2},
        )
        run["samples"]["cpu"], run["samples"]["faults"] = [1.0, 1.5], [100, 130]
        figure = figures.of_run(run, "app")
        self.assertEqual((figure["cpu_s"], figure["faults_per_1000"], figure["throughput"]), (0.5, 0.3, 900.5))

    def test_placement(self):
        final = {"operations": 0, "floor_bytes": 12 * MB, "floor_live": 8 * MB, "p999_ns": 1500}
        figure = found([(0, 0, 0, 0), (1, 1, 30, 8)], [[0, "start"], [1, "peak"]], final=final)
        self.assertEqual((figure["placement"], figure["retention"], figure["p999_ns"]), (1.5, 2.5, 1500))


if __name__ == "__main__":
    unittest.main()
