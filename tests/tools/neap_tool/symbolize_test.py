"""`neap symbolize`, on reports that programs compiled here and real ones write under the library."""

import os
import re
import shutil
import subprocess
import unittest

from neap_tool.support import LIBRARY, NEAP, NeapTest, TIMEOUT, build, copy, environment, fresh, neap

# What survives is made by make() in keep(), which is put into handle() by the compiler.
SOURCE = """
#include <neap/neap.h>
#include <stdlib.h>
static void *volatile kept[100];
__attribute__((noinline)) static void *make(size_t size) {
    void *p = malloc(size); /* made */
    __asm__ volatile("" : "+r"(p));
    return p;
}
static inline __attribute__((always_inline)) void keep(int i) {
    kept[i] = make(500); /* kept */
}
__attribute__((noinline)) static void handle(int i) {
    free(make(300));
    keep(i); /* handled */
    __asm__ volatile("");
}
int main(void) {
    for (int i = 0; i < 100; i++) {
        neap_scope scope = neap_scope_create(&(struct neap_scope_options){.label = "/kept"});
        neap_scope_enter(scope);
        handle(i);
        neap_scope_leave(scope);
        neap_scope_end(scope);
    }
    return neap_scope_report(stdout);
}
"""
THREADS = """
import threading
kept = []
def work():
    kept.append([str(i) * 20 for i in range(2000)])
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
HELPER = os.path.join(os.path.dirname(NEAP), "neap-symbolize")


def line_of(word):
    return next(number for number, line in enumerate(SOURCE.splitlines(), 1) if f"/* {word} */" in line)


def symbolize(text, *args):
    return subprocess.run([NEAP, "symbolize", *args], input=text, text=True, capture_output=True, timeout=TIMEOUT,
                          env=environment())


class WithoutHelper(NeapTest):
    def test_says_what_is_missing(self):
        done = neap("symbolize", tool=copy(NEAP))
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("neap-symbolize: No such file", done.stderr)
        self.assertIn("libdw-dev", done.stderr)

    def test_help(self):
        self.assertIn("scope_survivors", neap("help", "symbolize").stdout)
        self.assertIn("scope_survivors", neap("symbolize", "--help").stdout)


@unittest.skipUnless(os.path.exists(HELPER), "neap-symbolize was not built: no libdw")
class Text(NeapTest):
    def test_copies_what_is_no_frame(self):
        text = "a line\n\n    #1\n#1 0x\n  #1 0x12 \n#1 0x12 (\n#1 0x12 ()\n#1 0x12 (a+0x)\n#1 0x12 (+0x1\n" \
               "#1 0x12 (a+0x1z)\n#99999 0x12 (a+0x1)\n#1 0x12 (a+0x1ffffffffffffffff)\n#1 0x1 (?)\nno end"
        done = symbolize(text)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, text, ""))

    def test_files_that_are_not_there(self):
        text = "    #1 0x12 (/no/such file (1)+0x10)\n    #2 0x13 (/no/such file (1)+0x11)\n"
        done = symbolize(text)
        self.assertEqual((done.returncode, done.stdout), (0, text))
        self.assertEqual(done.stderr.count("/no/such file (1): No such file"), 1)
        text = f"    #1 0x12 ({__file__}+0x10)\n"
        done = symbolize(text)
        self.assertEqual((done.returncode, done.stdout), (0, text))
        self.assertIn(f"{__file__}: ", done.stderr)

    def test_usage(self):
        for args in (("a", "b"), ("--walk",)):
            done = symbolize("", *args)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("usage: neap symbolize", done.stderr)
        done = symbolize("", "/no/report")
        self.assertEqual(done.returncode, 2)
        self.assertIn("/no/report: No such file", done.stderr)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([NEAP, "symbolize"], input=b"x\n", stdout=full, stderr=subprocess.PIPE,
                                  timeout=TIMEOUT)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"No space left", done.stderr)


def has_scopes():
    return subprocess.run(["nm", "-D", LIBRARY], text=True, capture_output=True).stdout.count("neap_scope_report") > 0


@unittest.skipUnless(os.path.exists(HELPER), "neap-symbolize was not built: no libdw")
@unittest.skipUnless(has_scopes(), "the stand-in has no scopes")
class Reports(NeapTest):
    def program(self):
        directory = os.path.dirname(LIBRARY)
        return build("survivors", SOURCE, "-g", "-Wl,--build-id", LIBRARY, f"-Wl,-rpath,{directory}")

    def report(self, *command, **env):
        done = subprocess.run(command, text=True, capture_output=True, timeout=TIMEOUT, env=environment(**env))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_names_functions_and_lines(self):
        report = self.report(self.program(), NEAP_OPTIONS="scope_survivors:1").stdout
        self.assertRegex(report, r"\n +51200 +100 +100  /kept\n    #0 0x")
        done = symbolize(report)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        frames = re.findall(r"^    #(\d+) 0x[0-9a-f]+ in (\w+) (\S+):(\d+) \((.*)\+0x[0-9a-f]+\)$", done.stdout, re.M)
        self.assertEqual([(int(n), name, int(line)) for n, name, _, line, _ in frames[:3]],
                         [(0, "make", line_of("made")), (1, "keep", line_of("kept")), (1, "handle", line_of("handled"))])
        self.assertEqual(frames[3][:2], ("2", "main"))
        self.assertEqual(frames[0][4], self.program())
        self.assertEqual(done.stdout.splitlines()[:2], report.splitlines()[:2])
        path = fresh("report")
        with open(path, "w") as file:
            file.write(report)
        self.assertEqual(symbolize("", path).stdout, done.stdout)

    def test_other_intervals(self):
        report = self.report(self.program(), NEAP_OPTIONS="scope_survivors:1000000000").stdout
        self.assertNotIn("#0", report)
        self.assertIn("  /kept\n", report)
        for value in ("0", "-1", "many", "1073741825", ""):
            done = self.report(self.program(), NEAP_OPTIONS=f"scope_survivors:{value}")
            self.assertEqual(done.stderr,
                             f'neap: NEAP_OPTIONS: bad value for option: "scope_survivors:{value}" (ignored)\n')
            self.assertNotIn("samples", done.stdout)

    def test_a_file_that_was_replaced(self):
        path = copy(self.program(), "replaced")
        report = self.report(path, NEAP_OPTIONS="scope_survivors:1").stdout
        self.assertIn("in make ", symbolize(report).stdout)
        os.remove(path)
        shutil.copy("/bin/true", path)
        done = symbolize(report)
        self.assertNotIn("in make ", done.stdout)
        self.assertEqual(done.stderr.count("not the file of the report"), 1)

    def test_a_program_that_knows_nothing_of_scopes(self):
        options = "scope:thread,scope_survivors:1000,stats_exit:on"
        done = self.report("/usr/bin/python3", "-S", "-c", THREADS, LD_PRELOAD=LIBRARY, NEAP_OPTIONS=options,
                           PYTHONMALLOC="malloc")
        self.assertRegex(done.stderr, r"\n +\d+ +\d+ +\d+  thread\n    #0 0x")
        named = symbolize(done.stderr)
        self.assertEqual(named.returncode, 0)
        stacks = re.findall(r"  thread\n((?:    #.*\n)+)", named.stdout)
        self.assertRegex(stacks[0], r"#\d+ 0x\w+ in _?Py\w+ .*python3")
        self.assertTrue(any("libc.so.6" in stack.splitlines()[-1] for stack in stacks), named.stdout)
