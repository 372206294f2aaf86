"""Memory limits: what is read of /proc, the search, and the real thing where it is permitted."""

import os
import shutil
import tempfile
import unittest
import unittest.mock

import support
from runner import limits

V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
V2 = "31 24 0:28 / {} rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw\n"


def permitted():
    try:
        return limits.Limits()
    except limits.NoLimits:
        return None


class Where(unittest.TestCase):
    def test_version_1(self):
        own = "9:name=systemd:/\n4:memory:/docker/abc\n0::/\n"
        self.assertEqual(limits.controllers(V1, own), [(1, "/sys/fs/cgroup/memory", "/docker/abc")])

    def test_version_2(self):
        own = "0::/user.slice/session-1.scope\n"
        self.assertEqual(
            limits.controllers(V2.format("/sys/fs/cgroup"), own), [(2, "/sys/fs/cgroup", "/user.slice/session-1.scope")]
        )

    def test_none(self):
        with self.assertRaisesRegex(limits.NoLimits, "no cgroup file system is mounted"):
            limits.Limits(mounts="21 20 0:5 / /dev rw - devtmpfs udev rw\n", own="0::/\n")

    def test_no_memory_controller(self):
        with tempfile.TemporaryDirectory() as base:
            with open(os.path.join(base, "cgroup.controllers"), "w") as file:
                file.write("cpu io\n")
            with self.assertRaisesRegex(limits.NoLimits, f"{base} has no memory controller"):
                limits.Limits(mounts=V2.format(base), own="0::/\n")


class Version2(unittest.TestCase):
    """A hierarchy made up of plain files: where the kernel has given memory to version 1, there is no real one."""

    FILES = {"memory.max": "max\n", "memory.swap.max": "max\n", "cgroup.procs": "", "memory.events": "oom 1\noom_kill 0\n"}

    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        self.put(self.root, "cgroup.controllers", "cpu memory\n")
        self.put(self.root, "cgroup.subtree_control", "")
        make, take = os.mkdir, os.rmdir

        def mkdir(path, *more):  # the kernel's files come and go with their directory
            make(path, *more)
            for name, text in self.FILES.items():
                self.put(path, name, text)

        def rmdir(path, **more):
            for name in self.FILES if not more else ():
                os.unlink(os.path.join(path, name))
            take(path, **more)

        for name, stands_in in (("mkdir", mkdir), ("rmdir", rmdir)):
            patch = unittest.mock.patch.object(limits.os, name, stands_in)
            patch.start()
            self.addCleanup(patch.stop)

    def put(self, directory, name, text):
        with open(os.path.join(directory, name), "w") as file:
            file.write(text)

    def text(self, *names):
        with open(os.path.join(self.root, *names)) as file:
            return file.read().rstrip("\n")

    def limits(self, own="0::/\n"):
        return limits.Limits(mounts=V2.format(self.root), own=own)

    def test_limit_is_set_with_swap_and_taken_away(self):
        found = self.limits()
        self.assertEqual((found.version, found.base), (2, self.root))
        self.assertEqual(self.text("cgroup.subtree_control"), "+memory")
        with found.cgroup(50_000_000) as cgroup:
            self.assertTrue(self.text(cgroup.path, "memory.max").startswith("50000000"))
            self.assertTrue(self.text(cgroup.path, "memory.swap.max").startswith("0"))
            self.assertEqual(cgroup.procs_file(), os.path.join(cgroup.path, "cgroup.procs"))
            self.assertEqual(cgroup.kills(), 0)
            self.put(cgroup.path, "memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\noom_group_kill 0\n")
            self.assertEqual(cgroup.kills(), 2)
        self.assertEqual(sorted(os.listdir(self.root)), ["cgroup.controllers", "cgroup.subtree_control"])

    def test_own_cgroup_first_and_the_root_where_that_holds_processes(self):
        """A cgroup that holds processes hands on no controller."""
        own = os.path.join(self.root, "session")
        os.mkdir(own)
        for name in ("cgroup.controllers", "cgroup.subtree_control"):
            shutil.copy(os.path.join(self.root, name), own)
        self.assertEqual(self.limits("0::/session\n").base, own)
        os.unlink(os.path.join(own, "cgroup.subtree_control"))
        os.symlink("/dev/full", os.path.join(own, "cgroup.subtree_control"))
        self.assertEqual(self.limits("0::/session\n").base, self.root)

    def test_without_swap_accounting(self):
        with unittest.mock.patch.dict(self.FILES):
            del self.FILES["memory.swap.max"]
            with self.limits().cgroup(50_000_000) as cgroup:
                self.assertFalse(os.path.exists(os.path.join(cgroup.path, "memory.swap.max")))


class Search(unittest.TestCase):
    def search(self, needed, low, high):
        tried = []

        def completes(limit):
            tried.append(limit)
            return limit >= needed

        return limits.least_limit(completes, low, high), tried

    def test_finds_it(self):
        for needed in (1_010_000, 1_500_000, 1_999_000, 3_100_000):
            found, tried = self.search(needed, 1_000_000, 2_000_000)
            self.assertTrue(needed <= found <= needed * 1.04, (needed, found))
            self.assertLess(len(tried), 10)

    def test_gives_up(self):
        found, tried = self.search(1 << 60, 1_000_000, 2_000_000)
        self.assertIsNone(found)
        self.assertEqual(max(tried), 8_000_000)


@unittest.skipUnless(permitted(), "no memory limits are permitted here")
class Enforced(unittest.TestCase):
    def test_a_limit_that_suffices_and_one_that_does_not(self):
        done = support.bake_off("limit-high", "cycles", "glibc", "--limit", "100M")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = support.bake_off("limit-low", "burst,cycles", "glibc", "--limit", "20M")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("burst under glibc: oom: killed at its memory limit of 20.0 MB", done.stderr)
        self.assertEqual([run["status"] for run in support.results("limit-low")["runs"]], ["oom", "ok"])

    def test_least_limit(self):
        done = support.bake_off("least", "cycles", "glibc", "--least-limit")
        self.assertEqual(done.returncode, 0, done.stderr)
        found = support.results("least")["summary"]["cycles"]["glibc"]["least_limit_mb"]["median"]
        self.assertTrue(2 < found < 12, found)  # 2 MB live, and the program's own pages

    def test_nothing_is_left_behind(self):
        base = permitted().base
        self.assertEqual([name for name in os.listdir(base) if name.startswith("neap-bench-")], [])


if __name__ == "__main__":
    unittest.main()
