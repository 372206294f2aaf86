"""What people get wrong, and what goes wrong under way: a clear message, and the other runs are kept."""

import os
import stat
import subprocess
import unittest

import support
from support import bake_off, bench, results, workloads


class CommandLine(unittest.TestCase):
    def refused(self, message, *arguments, **variables):
        done = bench(*arguments, **variables)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertIn(message, done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def chosen(self, message, *arguments):
        self.refused(message, "--program", workloads(), "--workloads", "cycles", *arguments)

    def test_unknown_names(self):
        self.refused(
            "there is no workload 'bursts'; there are: twenty, burst,",
            "--program",
            workloads(),
            "--workloads",
            "bursts",
        )
        self.chosen("there is no allocator 'hoard'; there are: glibc,", "--allocators", "hoard")
        self.refused("invalid choice: 'slow'", "--profile", "slow")
        self.refused("unrecognized arguments: --fast", "--fast")

    def test_bad_values(self):
        self.chosen("-1 is not above 0", "--repeats", "-1")
        self.chosen("nan is not above 0", "--scale", "nan")
        self.chosen("'12 apples' is no size", "--limit", "12 apples")
        self.chosen("no name given", "--allocators", ",")
        self.chosen("there is no figure 'weight'", "--assert", "neap.weight < 3")

    def test_allocators(self):
        self.chosen("it is NAME=PATH[,VARIABLE=VALUE...]", "--allocator", "libfoo.so")
        self.chosen("'oops' is no VARIABLE=VALUE", "--allocator", "x=/lib/x.so,oops")
        self.chosen("/nowhere/libx.so does not exist", "--allocator", "x=/nowhere/libx.so")
        self.chosen("the loader does not take /etc/passwd: invalid ELF header", "--allocator", "x=/etc/passwd")
        self.chosen("is no allocator: malloc stays that of", "--allocator", "x=" + self.no_allocator())
        self.chosen("fails under it", "--allocator", "x=" + self.breaks_everything())
        self.chosen("two --allocator have the same name", *["--allocator", "x=" + support.shim("slow")] * 2)
        spaced = support.path("with space.so")
        os.symlink(support.shim("slow"), spaced)
        self.chosen("LD_PRELOAD cannot carry spaces", "--allocator", "x=" + spaced)

    def compiled(self, name, source):
        path = support.path(name)
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", path], input=source, text=True, check=True)
        return path

    def no_allocator(self):
        return self.compiled("libnothing.so", "int nothing(void) { return 0; }")

    def breaks_everything(self):
        return self.compiled(
            "libbreaks.so",
            "#include <stddef.h>\nvoid *malloc(size_t n) { (void)n; __builtin_trap(); }\n"
            "__attribute__((constructor)) static void start(void) { void *p = malloc(1); (void)p; }",
        )

    def test_programs(self):
        self.refused("/nowhere/prog: does not exist", "--program", "/nowhere/prog")
        path = support.path("mumbles")
        with open(path, "w") as file:
            file.write("#!/bin/sh\necho hello\n")
        os.chmod(path, stat.S_IRWXU)
        self.refused("'hello' describes no workload", "--program", path)

    def test_results(self):
        self.refused("No such file", "compare", "/nowhere/a.json", "/nowhere/b.json")
        path = support.path("other.json")
        for text, message in (("{}", "holds no results of neap bench"), ("[1", "is no JSON")):
            with open(path, "w") as file:
                file.write(text)
            self.refused(message, "report", path)
        self.refused("has no plan.json: nothing to resume", "--resume", support.TMP)

    def test_no_library_of_ours(self):
        done = bench("list", NEAP_LIBRARY="/nowhere/libneap.so")
        self.assertEqual(done.returncode, 2)
        self.assertIn("/nowhere/libneap.so (from NEAP_LIBRARY) cannot be read", done.stderr)


class UnderWay(unittest.TestCase):
    def test_a_workload_that_fails_leaves_the_others(self):
        done = bake_off("fails", "crash,unfinished,cycles", "glibc,neap", "--repeats", "1")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("crash under glibc: failed: killed by SIGABRT: about to crash", done.stderr)
        self.assertIn("unfinished under neap: failed: ended without having said that it is done", done.stderr)
        self.assertEqual(list(results("fails")["summary"]), ["cycles"])
        self.assertRegex(done.stdout, r"(?s)not measured\n.*crash under neap: killed by SIGABRT")

    def test_what_cannot_run_here_is_said_once(self):
        done = bake_off("cannot", "missing,cycles", "glibc,neap", "--repeats", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("cannot: the moon is not full"), 1, done.stderr)
        self.assertIn("missing: the moon is not full", done.stdout)

    def test_nothing_that_can_run(self):
        self.assertEqual(bake_off("nothing", "missing", "glibc").returncode, 2)

    def test_a_preload_that_does_not_take(self):
        """A static program: the loader is not even asked."""
        path = support.compiled("workloads.c", "static-workloads", "-static")
        done = bench(
            "--program", path, "--workloads", "cycles", "--allocators", "glibc,neap", "--out", support.path("static")
        )
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("cycles under neap: not-preloaded: the library is not mapped in the program", done.stderr)
        self.assertEqual(list(results("static")["summary"]["cycles"]), ["glibc"])

    def test_a_server_that_dies(self):
        """As apps do it: the reason in the last line on stderr."""
        path = support.path("server-dies")
        with open(path, "w") as file:
            file.write(
                '#!/bin/sh\ncase $1 in --list) echo \'{"name":"dies","kind":"app","quick_seconds":1}\';; '
                "*) echo redis died, killed by signal 11 >&2; exit 1;; esac\n"
            )
        os.chmod(path, stat.S_IRWXU)
        done = bench(
            "--program",
            path,
            "--program",
            workloads(),
            "--workloads",
            "dies,cycles",
            "--allocators",
            "neap",
            "--out",
            support.path("dies"),
        )
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("dies under neap: failed: exit status 1: redis died, killed by signal 11", done.stderr)
        self.assertEqual(list(results("dies")["summary"]), ["cycles"])

    @unittest.skipUnless(
        subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0,
        "mounting is not permitted here",
    )
    def test_a_disk_too_small_for_the_report(self):
        """Room for the runs, none for results.json."""
        out = support.path("small")
        os.mkdir(out)
        mounted = 'mount -t tmpfs -o size=24k none "$0" && exec "$@"'
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", mounted, out]
            + support.bench_command(
                "--program", workloads(), "--workloads", "cycles", "--allocators", "glibc,neap", "--out", out + "/x"
            ),
            env=support.environment(),
            capture_output=True,
            text=True,
            timeout=support.TIMEOUT,
        )
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertRegex(done.stderr, r"no space left for .*; when there is room: neap bench report .*/small/x")
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn("the same work twelve times", done.stdout)

    @unittest.skipUnless(os.geteuid() == 0, "needs root to become somebody else")
    def test_no_permission_for_limits(self):
        os.chmod(support.TMP, 0o755)
        workloads()
        out = support.path("nobody")
        os.mkdir(out)
        os.chown(out, 65534, 65534)
        command = support.bench_command(
            "--program", workloads(), "--workloads", "cycles", "--limit", "50M", "--out", out + "/x"
        )
        done = subprocess.run(
            ["setpriv", "--reuid", "65534", "--clear-groups", *command],
            env=support.environment(),
            cwd=out,
            capture_output=True,
            text=True,
            timeout=support.TIMEOUT,
        )
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(
            done.stderr,
            r"neap bench: no memory limits: .*(Permission denied|Read-only file system|no memory controller|no cgroup file system)",
        )


if __name__ == "__main__":
    unittest.main()
