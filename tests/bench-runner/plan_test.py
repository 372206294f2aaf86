"""What a profile chooses, and in which order."""

import unittest

from runner import plan
from runner.allocators import Allocator
from runner.workloads import Workload

SECONDS = {"quick": 5, "standard": 20, "full": 90}
ALLOCATORS = [Allocator(name, None, {}) for name in "abcde"]


def workloads(*kinds):
    return [Workload(f"w{number}", kind, "B", "", SECONDS, [], ["/bin/true"]) for number, kind in enumerate(kinds)]


def seconds(tasks, chosen, profile):
    by_name = {workload.name: workload for workload in chosen}
    return sum(plan.seconds_of(task, by_name[task.workload], profile) for task in tasks)


class Plan(unittest.TestCase):
    def test_quick_takes_two_minutes_and_says_what_it_leaves_out(self):
        everything, quick = workloads(*["scenario"] * 12), plan.PROFILES["quick"]
        tasks, left_out = plan.make(everything, ALLOCATORS, quick, 1)
        self.assertTrue(80 < seconds(tasks, everything, quick) < 126)
        self.assertEqual(len({task.workload for task in tasks}) + len(left_out), 12)

    def test_what_is_named_is_run_whatever_the_time(self):
        tasks, left_out = plan.make(
            workloads(*["scenario"] * 12), ALLOCATORS, plan.PROFILES["quick"], 1, 3, is_bounded=False
        )
        self.assertEqual((len(tasks), left_out), (12 * 5 * 3, []))

    def test_preferred_ones_come_first(self):
        everything = [
            each._replace(name=name) for each, name in zip(workloads(*["scenario"] * 9), [*"xyzuvw", "burst", "s", "t"])
        ]
        tasks, _ = plan.make(everything, ALLOCATORS, plan.PROFILES["quick"], 1)
        self.assertEqual(tasks[0].workload, "burst")

    def test_order(self):
        standard = plan.PROFILES["standard"]
        tasks, _ = plan.make(workloads("scenario", "scenario"), ALLOCATORS, standard, 7)
        self.assertEqual(tasks, plan.make(workloads("scenario", "scenario"), ALLOCATORS, standard, 7)[0])
        rounds = [tasks[at : at + 5] for at in range(0, len(tasks), 5)]
        for each in rounds:  # every allocator once, before any comes again
            self.assertEqual(sorted(task.allocator for task in each), list("abcde"))
        self.assertEqual(
            [(each[0].workload, each[0].repeat) for each in rounds], [("w0", 1), ("w1", 1), ("w0", 2), ("w1", 2)]
        )
        self.assertGreater(
            len({tuple(task.allocator for task in each) for each in rounds}), 1, "the order is not random"
        )

    def test_limits_and_counts_come_last_and_once(self):
        tasks, _ = plan.make(workloads("app", "scenario"), ALLOCATORS[:1], plan.PROFILES["full"], 1)
        self.assertEqual([task.what for task in tasks], ["run"] * 8 + [plan.COUNT, plan.LIMIT][::-1])


if __name__ == "__main__":
    unittest.main()
