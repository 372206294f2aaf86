"""`neap run`, and the command line of `neap` as a whole."""

import os
import shutil
import subprocess
import unittest

from neap_tool.support import (
    IS_ROOT, LIBRARY, NEAP, NOBODY, NeapTest, ROOT, TIMEOUT, TMP, TOOK_OVER, build, copy, fresh, interpreter_of, neap,
    of_other_machine, other_malloc, patched, program, script, static_program, takes_setuid,
)


class CommandLine(NeapTest):
    def test_version(self):
        with open(os.path.join(ROOT, "include/neap/neap.h")) as header:
            version = [line.split('"')[1] for line in header if line.startswith('#define NEAP_VERSION  ')]
        self.assertEqual(neap("--version").stdout, f"neap {version[0]}\n")

    def test_help(self):
        done = neap("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("run", "check", "neap help"):
            self.assertIn(word, done.stdout)
        self.assertEqual(neap("help").stdout, done.stdout)

    def test_help_of_a_command(self):
        done = neap("help", "run")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("--python-malloc", done.stdout)
        self.assertEqual(neap("run", "--help").stdout, done.stdout)
        self.assertIn("PID", neap("help", "check").stdout)

    def test_usage_errors(self):
        for args, message in (
            ((), "no command given"),
            (("walk",), "unknown command 'walk'"),
            (("--walk",), "unknown option '--walk'"),
            (("help", "walk"), "unknown command 'walk'"),
            (("run",), "no command given"),
            (("run", "--"), "no command given"),
            (("run", "true"), "the command goes behind --"),
            (("run", "--walk", "--", "true"), "unknown option '--walk'"),
            (("run", "--librar", "--", "true"), "unknown option '--librar'"),
            (("run", "--libraryx", "--", "true"), "unknown option '--libraryx'"),
            (("run", "--library"), "--library needs a value"),
            (("run", "--python-malloc=1", "--", "true"), "--python-malloc takes no value"),
            (("check",), "no process or command given"),
            (("check", "--"), "no command given"),
            (("check", "self"), "'self' is not a process id"),
            (("check", "0"), "'0' is not a process id"),
            (("check", "12x"), "'12x' is not a process id"),
            (("check", "99999999999999999999"), "is not a process id"),
            (("check", "1", "2"), "'2' is too many"),
            (("check", "--walk", "1"), "unknown option '--walk'"),
            (("check", "--library", "/x", "1"), "--library is for a command"),
        ):
            with self.subTest(args=args):
                done = neap(*args)
                self.assertEqual(done.returncode, 2)
                self.assertEqual(done.stdout, "")
                self.assertIn("neap: ", done.stderr)
                self.assertIn(message, done.stderr)
                self.assertIn("usage: neap", done.stderr)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([NEAP, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"No space left", done.stderr)


class Run(NeapTest):
    def preload(self, *args, **more):
        done = neap("run", *args, "--", "printenv", "LD_PRELOAD", **more)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.rstrip("\n")

    def test_sets_preload(self):
        self.assertEqual(self.preload("--library", LIBRARY), LIBRARY)
        self.assertEqual(self.preload("--library=" + LIBRARY), LIBRARY)

    def test_keeps_existing_entries_behind(self):
        other = other_malloc()
        self.assertEqual(self.preload("--library", LIBRARY, LD_PRELOAD=other), f"{LIBRARY}:{other}")
        more = f" {other}::libm.so.6 "
        self.assertEqual(self.preload("--library", LIBRARY, LD_PRELOAD=more), f"{LIBRARY}:{other}:libm.so.6")

    def test_no_duplicate(self):
        other = other_malloc()
        again = fresh("again.so")
        os.symlink(LIBRARY, again)
        for existing in (LIBRARY, f"{LIBRARY}:{other}", f"{other} {LIBRARY}", f"{other}:{again}",
                         f"{other}:libneap.so.0"):
            with self.subTest(existing=existing):
                want = f"{LIBRARY}:{other}" if other in existing else LIBRARY
                tool_env = {"LD_PRELOAD": existing, "LD_LIBRARY_PATH": os.path.dirname(LIBRARY)}
                done = neap("run", "--library", LIBRARY, "--", "printenv", "LD_PRELOAD", **tool_env)
                self.assertEqual(done.stdout.rstrip("\n"), want)

    def test_library_from_environment(self):
        other = other_malloc()
        self.assertEqual(self.preload(NEAP_LIBRARY=other), other)
        self.assertEqual(self.preload("--library", LIBRARY, NEAP_LIBRARY=other), LIBRARY)
        self.run_fails(125, "(from NEAP_LIBRARY) cannot be read: No such file", "--", "true", NEAP_LIBRARY="/nowhere")

    def test_relative_library_becomes_absolute(self):
        directory, name = os.path.split(LIBRARY)
        self.assertEqual(self.preload("--library", name, cwd=directory), LIBRARY)

    def test_finds_the_library_of_its_build_tree(self):
        tool = copy(NEAP, "bin", "neap")
        library = os.path.join(os.path.dirname(os.path.dirname(tool)), "lib", "libneap.so")
        self.run_fails(125, library, "--", "true", tool=tool)
        os.makedirs(os.path.dirname(library))
        shutil.copy(LIBRARY, library)
        self.assertEqual(self.preload(tool=tool), library)
        link = fresh("neap")
        os.symlink(tool, link)
        self.assertEqual(self.preload(tool=link), library)

    def test_options(self):
        done = neap("run", "--library", LIBRARY, "--options", "a:b,c:d", "--", "printenv", "NEAP_OPTIONS")
        self.assertEqual(done.stdout, "a:b,c:d\n")
        self.assertEqual(neap("run", "--library", LIBRARY, "--", "printenv", "NEAP_OPTIONS").returncode, 1)

    def test_python_malloc(self):
        done = neap("run", "--library", LIBRARY, "--python-malloc", "--", "printenv", "PYTHONMALLOC")
        self.assertEqual(done.stdout, "malloc\n")
        self.assertEqual(neap("run", "--library", LIBRARY, "--", "printenv", "PYTHONMALLOC").returncode, 1)

    def test_arguments_and_exit_code(self):
        done = neap("run", "--library", LIBRARY, "--", "sh", "-c", 'echo "$0 $1"; exit 7', "--library", "--")
        self.assertEqual((done.returncode, done.stdout), (7, "--library --\n"))

    def test_the_process_has_it(self):
        pid = self.start(NEAP, "run", "--library", LIBRARY, "--", program())
        self.check(TOOK_OVER, "neap took over", pid)

    def test_libraries_that_cannot_be_used(self):
        no_malloc = build("libnothing.so", "int nothing;", "-shared", "-fPIC")
        text = script("neither ELF nor malloc\n", "libneap.so")
        for path, reason in (
            ("/nowhere/libneap.so", "cannot be read: No such file or directory"),
            ("", "is not a regular file"),
            (TMP, "is not a regular file"),
            ("/dev/null", "is not a regular file"),
            (text, "is not an ELF file"),
            (no_malloc, "does not export malloc"),
            (program(), "not a shared library"),
            (static_program(), "not a shared library"),
            (of_other_machine(LIBRARY), " is for "),
            (patched(LIBRARY, 5, b"\2"), "of the other byte order"),
            (patched(LIBRARY, 5, b"\7"), "of an unknown byte order"),
            (patched(LIBRARY, 4, b"\7"), "of an unknown class"),
            (copy(LIBRARY, "a space", "libneap.so"), "has a space or colon in its path"),
            (copy(LIBRARY, "a:colon", "libneap.so"), "has a space or colon in its path"),
            (copy(LIBRARY, "$LIB", "libneap.so"), "has a '$' in its path"),
        ):
            with self.subTest(path=path):
                self.run_fails(125, reason, "--library", path, "--", "echo", "ran")

    @unittest.skipIf(IS_ROOT, "root can read everything")
    def test_unreadable_library(self):
        path = copy(LIBRARY)
        os.chmod(path, 0)
        self.run_fails(125, "cannot be read: Permission denied", "--library", path, "--", "echo", "ran")

    @unittest.skipUnless(IS_ROOT, "needs root to become another user")
    def test_unreadable_library_as_another_user(self):
        path = copy(LIBRARY)
        os.chmod(path, 0)
        self.run_fails(125, "cannot be read: Permission denied", "--library", path, "--", "echo", "ran",
                       tool=copy(NEAP), user=NOBODY)

    def test_architecture_is_compared_with_the_program(self):
        library = of_other_machine(LIBRARY)
        done = self.run_fails(125, f"library {library} is for ", "--library", library, "--", program())
        self.assertIn(f"but {program()} is for ", done.stderr)
        done = self.run_fails(125, f"library {library} is for ", "--library", library, "--", "/nowhere/program")
        self.assertIn("but this system is for ", done.stderr)

    def test_command_not_found(self):
        self.run_fails(127, "no-such-command: No such file", "--library", LIBRARY, "--", "no-such-command",
                       PATH="/usr/bin:/bin")
        self.run_fails(127, "/nowhere/x: No such file", "--library", LIBRARY, "--", "/nowhere/x")

    def test_command_not_executable(self):
        path = fresh("plain")
        with open(path, "w") as file:
            file.write("x")
        self.run_fails(126, "Permission denied", "--library", LIBRARY, "--", path)
        self.run_fails(126, "Permission denied", "--library", LIBRARY, "--", TMP)

    def test_warns_of_a_static_binary_and_runs_it(self):
        warning = f"neap: warning: {static_program()} is a static binary: the preload will not take\n"
        for command in (static_program(), script(f"#!{static_program()}\n")):
            with self.subTest(command=command):
                done = neap("run", "--library", LIBRARY, "--", command)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "ready\n", warning))

    def test_warns_of_a_static_binary_behind_env(self):
        path = script("#!/usr/bin/env static_program\n")
        done = neap("run", "--library", LIBRARY, "--", path, PATH=TMP + ":" + os.environ["PATH"])
        self.assertIn("is a static binary", done.stderr)
        self.assertEqual(done.stdout, "ready\n")

    def test_does_not_warn_of_others(self):
        loader = interpreter_of(program())
        for command in ([program()], [script(f"#!{program()}\n")], [loader, program()]):
            with self.subTest(command=command):
                done = neap("run", "--library", LIBRARY, "--", *command)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "ready\n", ""))

    @unittest.skipUnless(IS_ROOT, "needs root to make a setuid file of another user")
    def test_warns_of_setuid_and_setgid(self):
        if not takes_setuid(TMP):
            self.skipTest("the temporary directory is mounted nosuid")
        for mode, owner, word in ((0o4755, (NOBODY, 0), "setuid"), (0o2755, (0, NOBODY), "setgid")):
            path = copy(program())
            os.chown(path, *owner)
            os.chmod(path, mode)
            done = neap("run", "--library", LIBRARY, "--", path)
            self.assertEqual(done.stderr, f"neap: warning: {path} has {word}: the preload will not take\n")
            self.assertEqual(done.stdout, "ready\n")
