"""The sampler against what is known: twenty allocations, memory of a known size, and what it costs itself."""

import os
import subprocess
import tempfile
import time
import unittest
import unittest.mock

import support
from runner import page, proc
from runner import sampler as sampler_module
from runner.sampler import Sampler

SIZES = (
    1,
    16,
    24,
    100,
    128,
    1000,
    4096,
    5000,
    10000,
    32768,
    40000,
    65536,
    100000,
    131072,
    200000,
    262144,
    500000,
    1000000,
    1048576,
    2000000,
)
MB = 1_000_000
HOLDS = "import mmap, sys; m = mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); m.write(b'x' * 50_000_000); "


class TwentyAllocations(unittest.TestCase):
    def test_live_bytes(self):
        done = support.bake_off("twenty", "twenty", "glibc")
        self.assertEqual(done.returncode, 0, done.stderr)
        run = support.results("twenty")["runs"][0]
        samples, phases = run["samples"], run["phases"]
        # A phase takes 120 ms. It is missed where the sampler got no processor for as long, and only there.
        times = [0, *samples["t"]]
        could_miss = sum(int((after - before) / 0.11) for before, after in zip(times, times[1:]))
        self.assertLessEqual(21 - len(phases), could_miss, phases)
        for index, (_, name, number) in enumerate(phases):
            done_calls = number - 1
            self.assertEqual(name, f"after-{done_calls}" if done_calls else "start")
            live = [value for value, phase in zip(samples["live"], samples["phase"]) if phase == index]
            expected = sum(SIZES[:done_calls])
            self.assertTrue(live, f"{name} was not sampled")
            self.assertEqual(live[0], expected, name)
            self.assertTrue(set(live) <= {expected, sum(SIZES[: done_calls + 1])}, name)
        self.assertEqual((run["final"]["live_bytes"], run["final"]["operations"]), (0, 40))
        # What is resident follows: all of it was written to.
        rise = max(samples["live"]) - samples["live"][0]
        before, after = samples["resident"][0], max(samples["resident"])
        self.assertTrue(rise <= after - before <= rise + 500_000, (before, after))


class Memory(unittest.TestCase):
    def start(self, text):
        process = subprocess.Popen([support.PYTHON, "-c", text], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        self.addCleanup(process.communicate)
        process.stdout.readline()
        return process.pid

    def test_known_size(self):
        pid = self.start(HOLDS + "print(); sys.stdout.flush(); sys.stdin.read()")
        process = proc.Process(pid)
        self.addCleanup(process.close)
        self.assertTrue(50 * MB < process.counts().anonymous < 62 * MB)
        rollup = process.rollup()
        self.assertTrue(50 * MB < rollup.pss < 70 * MB)
        self.assertLess(rollup.shared_anonymous, MB)
        with open(f"/proc/{pid}/maps") as maps:
            self.assertEqual(process.mappings(), len(maps.readlines()))

    def test_lazily_freed_pages_are_resident(self):
        pid = self.start(HOLDS + "m.madvise(mmap.MADV_FREE); print(); sys.stdout.flush(); sys.stdin.read()")
        process = proc.Process(pid)
        self.addCleanup(process.close)
        self.assertGreater(process.counts().anonymous, 50 * MB)
        self.assertGreater(process.rollup().lazy_free, 45 * MB)

    def test_what_forked_processes_share_counts_once(self):
        pid = self.start(HOLDS + "import os; os.fork(); print(); sys.stdout.flush(); sys.stdin.read()")
        tree = proc.Tree(pid)
        self.addCleanup(tree.close)
        for _ in range(100):
            counts = tree.each(lambda process: process.counts())
            if len(counts) == 2:
                break
            tree._next_scan = 0
        self.assertEqual(len(counts), 2)
        shared = sum(rollup.shared_anonymous for rollup in tree.each(lambda process: process.rollup()))
        resident = sum(each.anonymous for each in counts) - shared
        self.assertTrue(50 * MB < resident < 75 * MB, resident)


class PhaseChange(unittest.TestCase):
    def test_a_sample_belongs_to_one_phase(self):
        """The workload leaves `start` just while its memory is read."""
        with tempfile.TemporaryDirectory() as directory, page.Page(os.path.join(directory, "page")) as shared:
            state = shared.read()._replace(phase=1, phase_name="start")
            shared.read, shared.phase = lambda: state, lambda: state.phase
            sampler = Sampler(shared, os.getpid(), time.monotonic())
            self.addCleanup(sampler.close)
            resident = [10]

            def each(_):
                nonlocal state
                found = [proc.Counts(resident[0], resident[0], 0, 0, 1)]
                if len(sampler.samples["t"]) == 1 and state.phase == 1:
                    state, resident[0] = state._replace(phase=2, phase_name="peak"), 999
                    found = [proc.Counts(999, 999, 0, 0, 1)]
                return found

            sampler._tree.each, sampler._walk = each, lambda: None
            for _ in range(3):
                sampler._sample(time.monotonic())
        self.assertEqual(sampler.samples["resident"], [10, 999, 999])
        self.assertEqual(sampler.samples["phase"], [0, 1, 1])


class Glance(unittest.TestCase):
    """Between two samples, memory and live bytes are kept where they move, and nowhere else."""

    def looks(self, memory):
        """The resident bytes that are kept of such memory at one look after another, of which the first is a sample."""
        with tempfile.TemporaryDirectory() as directory, page.Page(os.path.join(directory, "page")) as shared:
            sampler = Sampler(shared, os.getpid(), time.monotonic(), interval=1000)
            self.addCleanup(sampler.close)
            process = unittest.mock.Mock()
            sampler._tree.each, sampler._walk = lambda read: [read(process)], lambda: None
            for anonymous in memory:
                process.counts.return_value = proc.Counts(anonymous, anonymous, 0, 0, 1)
                process.memory.return_value = (anonymous, anonymous)
                sampler.look()
        return sampler.samples["resident"]

    def test_a_ramp_is_kept(self):
        self.assertEqual(self.looks([100, 120, 140, 160]), [100, 120, 140, 160])

    def test_what_stays_is_not(self):
        self.assertEqual(self.looks([1000, 1000, 1001, 1000, 1002]), [1000])

    def test_a_step_begins_where_it_began(self):
        self.assertEqual(self.looks([1000, 1000, 1001, 1500, 1500]), [1000, 1001, 1500])


class Budget(unittest.TestCase):
    """The pauses between looks that cost so much, with clocks of our own."""

    def pauses(self, cost, seconds=10, beginning=0.003, phase="peak"):
        """(of each look, share of a CPU); the first look costs more by its beginning."""
        now = used = 0.0
        clocks = unittest.mock.Mock(monotonic=lambda: now, thread_time=lambda: used)
        with tempfile.TemporaryDirectory() as directory, page.Page(os.path.join(directory, "page")) as shared:
            with unittest.mock.patch.object(sampler_module, "time", clocks):
                sampler = Sampler(shared, os.getpid(), now)
                self.addCleanup(sampler.close)
                sampler.state = sampler.state._replace(phase_name=phase)
                used, found = beginning, []
                while now < seconds:
                    used += cost
                    found.append(sampler.pause())
                    now += found[-1]
                return found, sampler.cpu_share()

    def test_what_it_can_afford_is_not_slowed(self):
        pauses, share = self.pauses(0.0003)
        self.assertEqual(set(pauses), {sampler_module.LOOK_SECONDS})
        self.assertLess(share, 0.016)

    def test_dear_looks_become_rarer(self):
        for cost in (0.0005, 0.001, 0.0016):  # seconds a look, as with thousands of threads
            pauses, share = self.pauses(cost)
            self.assertTrue(0.0155 < share < 0.0175, (cost, share))
            self.assertLessEqual(max(pauses), sampler_module.LONGEST_SECONDS)

    def test_ten_a_second_at_any_cost(self):
        self.assertEqual(set(self.pauses(0.02)[0]), {sampler_module.LONGEST_SECONDS})

    def test_the_beginning_is_not_paid_for_at_once(self):
        """Of the first phase, in which there is little time, as much is seen as of others."""
        self.assertEqual(set(self.pauses(0.0003, seconds=0.2)[0]), {sampler_module.LOOK_SECONDS})

    def test_silence_is_sampled_and_no_more(self):
        self.assertEqual(set(self.pauses(0.0003, phase="silent")[0]), {sampler_module.SAMPLE_SECONDS})


class Cost(unittest.TestCase):
    def below_two_percent(self, runs):
        """The usual run: what interrupts us on a busy machine is charged to us, and one in dozens has more."""
        shares = sorted(run["sampler_cpu_share"] for run in runs)
        self.assertLess(shares[len(shares) // 2], 0.02, shares)

    def test_below_two_percent(self):
        _, known = support.known_answers()
        self.below_two_percent(known["runs"])

    def test_below_two_percent_of_many_threads(self):
        """The kernel adds up the CPU time of all of them for each sample."""
        done = support.bake_off("threads", "idle-threads", "glibc", "--repeats", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        runs = support.results("threads")["runs"]
        self.assertGreater(max(runs[0]["samples"]["threads"]), 200)
        self.below_two_percent(runs)

    def test_ten_a_second(self):
        _, known = support.known_answers()
        for run in known["runs"]:
            times = run["samples"]["t"]
            gaps = sorted(after - before for before, after in zip(times, times[1:]))
            # The usual one: on a busy machine there are longer ones.
            self.assertLess(gaps[len(gaps) // 2], 0.1, (run["workload"], run["allocator"]))


if __name__ == "__main__":
    unittest.main()
