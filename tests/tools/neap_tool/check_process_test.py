"""`neap check PID`: every verdict, on processes started here."""

import os
import shutil
import signal
import subprocess
import unittest

from neap_tool.sources import LINKED, LOADS_LATER, MALLOC, PROGRAM, SECCOMP, STATIC_I386
from neap_tool.support import (
    CANNOT_TELL, DID_NOT, IN_FRONT, IS_ROOT, LIBRARY, NEAP, NOBODY, NeapTest, READY, TMP, TOOK_OVER, build,
    copy, environment, fresh, interpreter_of, of_other_machine, other_malloc, program, script,
    stand_in, static_program, takes_setuid,
)


class CheckProcess(NeapTest):
    def test_took_over(self):
        pid = self.start(program(), LD_PRELOAD=LIBRARY)
        lines = self.check(TOOK_OVER, f"neap took over in process {pid} (program): version 0.", pid,
                           details=["library " + LIBRARY])
        self.assertRegex(lines[0], r"heap [0-9.]+ ([KMGT]iB|bytes)$")
        self.assertRegex(lines[1], r"^  heap 0x[0-9a-f]+ to 0x[0-9a-f]+$")

    def test_heap_size(self):
        pid = self.start(program(), LD_PRELOAD=stand_in(READY | IN_FRONT))
        self.check(TOOK_OVER, "heap 4.0 MiB", pid)

    def test_took_over_in_a_program_started_through_the_loader(self):
        pid = self.start(interpreter_of(program()), program(), LD_PRELOAD=LIBRARY)
        self.check(TOOK_OVER, "neap took over", pid)
        pid = self.start(interpreter_of(program()), program())
        self.check(DID_NOT, "it was not preloaded", pid)

    def test_took_over_although_its_file_was_replaced(self):
        library = copy(LIBRARY, "libneap.so.0")
        pid = self.start(program(), LD_PRELOAD=library)
        os.unlink(library)
        if IS_ROOT:
            self.check(TOOK_OVER, "neap took over", pid, details=["(deleted)"])
        else:
            self.check(CANNOT_TELL, "has been replaced since it was loaded", pid)

    @unittest.skipUnless(IS_ROOT, "needs root to become another user")
    def test_replaced_library_as_another_user(self):
        library, command = copy(LIBRARY, "libneap.so.0"), copy(program())
        pid = self.start(command, LD_PRELOAD=library, user=NOBODY)
        self.check(TOOK_OVER, "neap took over", pid, tool=copy(NEAP), user=NOBODY)
        os.unlink(library)
        self.check(CANNOT_TELL, "has been replaced since it was loaded", pid, tool=copy(NEAP), user=NOBODY)

    def test_linked_into_a_static_program(self):
        path = build("static_neap", LINKED + PROGRAM, "-static", f"-DFLAGS={READY | IN_FRONT}")
        self.check(TOOK_OVER, "neap took over", self.start(path), details=[f"neap is linked into {path}"])
        position_independent = build("static_pie_neap", LINKED + PROGRAM, "-static-pie", "-fPIE",
                                     f"-DFLAGS={READY | IN_FRONT}")
        self.check(TOOK_OVER, "neap took over", self.start(position_independent))

    def test_linked_into_a_dynamic_program(self):
        path = build("dynamic_neap", LINKED + PROGRAM, f"-DFLAGS={READY | IN_FRONT}")
        self.check(TOOK_OVER, "neap took over", self.start(path), details=[f"neap is linked into {path}"])

    def test_state_that_the_program_holds_a_copy_of(self):
        """A copy relocation moves the variable into the executable; the library's own is then dead."""
        library = stand_in(READY | IN_FRONT)
        source = PROGRAM.replace("int main(void)\n{", "#include <neap/neap.h>\nint main(void)\n{\n"
                                 "    neap_state.heap_end = neap_state.heap_base + 8192;\n")
        path = build("copying_program", source, "-no-pie", "-fno-pie", library, "-Wl,-rpath," + TMP)
        self.check(TOOK_OVER, "heap 8.0 KiB", self.start(path))

    def test_linked_into_a_32_bit_program(self):
        try:
            path = build("static_i386", STATIC_I386, "-m32", "-nostdlib", "-static", "-ffreestanding", "-fno-pic",
                         "-fno-stack-protector", "-Wl,-no-pie")
            subprocess.run([path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            self.skipTest(f"no 32-bit programs here: {error}")
        self.check(TOOK_OVER, "version 0.1.0, heap 2.0 MiB", self.start(path))

    def test_loaded_after_the_start(self):
        path, library = build("loads_later", LOADS_LATER, "-D_GNU_SOURCE"), stand_in(0)
        self.check(DID_NOT, "libc.so.6 stands in front", self.start(path, library))
        self.check(DID_NOT, f"{library} is mapped, but its loader does not look there",
                   self.start(path, library, "apart"))

    def test_static_binary(self):
        self.check(DID_NOT, "it is a static binary", self.start(static_program(), LD_PRELOAD=LIBRARY))
        self.check(DID_NOT, "it is a static binary",
                   self.start(build("static_pie", PROGRAM, "-static-pie", "-fPIE"), LD_PRELOAD=LIBRARY))

    @unittest.skipUnless(IS_ROOT, "needs root to make a setuid file of another user")
    def test_setuid(self):
        if not takes_setuid(TMP):
            self.skipTest("the temporary directory is mounted nosuid")
        path = copy(program())
        os.chown(path, NOBODY, 0)
        os.chmod(path, 0o4755)
        self.check(DID_NOT, "raised privileges", self.start(path, LD_PRELOAD=LIBRARY))

    def test_preload_names_a_missing_file(self):
        path = "/nowhere/libneap.so.0"
        self.check(DID_NOT, f"LD_PRELOAD names {path}, which cannot be read: No such file",
                   self.start(program(), LD_PRELOAD="libm.so.6:" + path))
        self.check(DID_NOT, "LD_PRELOAD names libneap.so.7, which the loader did not find",
                   self.start(program(), LD_PRELOAD="libneap.so.7"))

    def test_preload_names_a_file_that_is_no_library(self):
        path = script("text", "libneap.so.0")
        self.check(DID_NOT, f"LD_PRELOAD names {path}, which is not an ELF file",
                   self.start(program(), LD_PRELOAD=path))

    def test_library_that_came_later(self):
        path = fresh("libneap.so.0")
        pid = self.start(program(), LD_PRELOAD=path)
        shutil.copy(LIBRARY, path)
        self.check(DID_NOT, f"LD_PRELOAD names {path}, but it is not loaded", pid)

    def test_not_preloaded(self):
        self.check(DID_NOT, "it was not preloaded", self.start(program()),
                   details=["LD_PRELOAD was not set", f"neap run -- {program()}", "its malloc is that of /", "libc"])
        other = other_malloc()
        self.check(DID_NOT, "it was not preloaded", self.start(program(), LD_PRELOAD=other),
                   details=[f"LD_PRELOAD was '{other}'", f"its malloc is that of {other}"])

    def test_wrong_architecture(self):
        path = of_other_machine(LIBRARY, "libneap.so.0")
        self.check(DID_NOT, f"{path} is for ", self.start(program(), LD_PRELOAD=path))

    def test_another_malloc_in_front(self):
        other = other_malloc()
        self.check(DID_NOT, f"the malloc of {other} stands in front",
                   self.start(program(), LD_PRELOAD=f"{other}:{LIBRARY}"), details=["library " + LIBRARY])
        self.check(TOOK_OVER, "neap took over", self.start(program(), LD_PRELOAD=f"{LIBRARY}:{other}"))

    def test_program_with_its_own_malloc(self):
        path = build("own_malloc", MALLOC + PROGRAM)
        self.check(DID_NOT, f"the malloc of {path} stands in front", self.start(path, LD_PRELOAD=LIBRARY))

    def test_whether_it_is_in_front_is_for_the_library_to_say(self):
        library = f"{other_malloc()}:{stand_in(READY | IN_FRONT)}"
        self.check(TOOK_OVER, "neap took over", self.start(program(), LD_PRELOAD=library))

    def test_nothing_allocated_yet(self):
        self.check(DID_NOT, "nothing has been allocated from it yet",
                   self.start(program(), LD_PRELOAD=stand_in(IN_FRONT)))

    def test_behind_another_and_nothing_allocated(self):
        other = other_malloc()
        self.check(DID_NOT, f"the malloc of {other} stands in front",
                   self.start(program(), LD_PRELOAD=f"{other}:{stand_in(0)}"))

    def test_not_in_front_for_no_visible_reason(self):
        self.check(DID_NOT, "malloc is not its own", self.start(program(), LD_PRELOAD=stand_in(READY)))

    def test_state_that_is_none(self):
        for define, fault in (('MAGIC="neap 2"', 'does not open with "neap 1"'), ("SIZE=47", "cannot be 47 bytes"),
                              ("SIZE=0x7fffffff", "cannot be 2147483647 bytes"),
                              ("HEAP_END=1", "ends before it begins")):
            with self.subTest(define=define):
                pid = self.start(program(), LD_PRELOAD=stand_in(READY | IN_FRONT, define))
                self.check(CANNOT_TELL, "its neap_state is not one", pid, details=[fault])

    def test_larger_state_of_a_later_version(self):
        pid = self.start(program(), LD_PRELOAD=stand_in(READY | IN_FRONT, "SIZE=4096"))
        self.check(TOOK_OVER, "neap took over", pid)

    def test_names_with_control_characters(self):
        path = copy(program(), "red\033[31m")
        line = self.check(DID_NOT, "it was not preloaded", self.start(path))[0]
        self.assertIn("(red?[31m)", line)

    def test_memory_by_file_where_the_system_call_is_refused(self):
        pid = self.start(program(), LD_PRELOAD=LIBRARY)
        refuse = build("seccomp", SECCOMP)
        self.check(TOOK_OVER, "neap took over", pid, prefix=(refuse, "one"))
        self.check(CANNOT_TELL, "its memory cannot be read: Permission denied", pid, prefix=(refuse, "all"),
                   details=[f"{os.path.realpath(LIBRARY)} is mapped"])
        self.check(DID_NOT, "it was not preloaded", self.start(program()), prefix=(refuse, "all"))

    @unittest.skipUnless(IS_ROOT, "needs root to become another user")
    def test_no_permission(self):
        pid = self.start(program(), LD_PRELOAD=LIBRARY)
        self.check(CANNOT_TELL, f"process {pid} (program): no permission", pid, tool=copy(NEAP), user=NOBODY,
                   details=["it belongs to user 0", f"command line: {program()}"])

    @unittest.skipIf(IS_ROOT, "root has permission")
    def test_no_permission_for_init(self):
        self.check(CANNOT_TELL, "no permission", 1, details=["it belongs to user 0"])

    def test_no_such_process(self):
        process = subprocess.Popen(["true"])
        process.wait()
        self.check(CANNOT_TELL, f"there is no process {process.pid}", process.pid)

    def test_ended_process(self):
        process = subprocess.Popen(["true"])
        self.addCleanup(process.wait)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.check(CANNOT_TELL, f"process {process.pid} (true) has ended", process.pid)

    def test_kernel_thread(self):
        try:
            with open("/proc/2/comm") as comm:
                if comm.read() != "kthreadd\n":
                    self.skipTest("process 2 is not the kernel's here")
        except OSError:
            self.skipTest("no process 2 here")
        self.check(CANNOT_TELL, "(kthreadd) is a kernel thread", 2)

    def test_process_in_its_loader(self):
        """Stopped at its first instruction, a process has loaded nothing yet; that is no verdict on neap."""
        pid = os.fork()
        if pid == 0:
            libc = __import__("ctypes").CDLL(None)
            libc.ptrace(0, 0, None, None)  # PTRACE_TRACEME: stops at exec
            os.execve(program(), [program()], environment(LD_PRELOAD=LIBRARY))
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self.assertTrue(os.WIFSTOPPED(status))
        self.check(CANNOT_TELL, "its loader is at work at this moment", pid)
