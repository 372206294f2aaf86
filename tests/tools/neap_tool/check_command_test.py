"""`neap check -- COMMAND`: every verdict, and that nothing of the command is run."""

import os
import shutil
import subprocess
import unittest

from neap_tool.sources import LINKED, MALLOC, PROGRAM, STATE
from neap_tool.support import (
    CANNOT_TELL, DID_NOT, IN_FRONT, IS_ROOT, LIBRARY, NEAP, NOBODY, NeapTest, READY, TMP, TOOK_OVER, build,
    copy, environment, fresh, interpreter_of, of_other_machine, other_malloc, patched, program, script,
    static_program, takes_setuid,
)


class CheckCommand(NeapTest):
    def check_command(self, status, line, *command, **more):
        return self.check(status, line, "--library", more.pop("library", LIBRARY), "--", *command, **more)

    def test_would_take_over_and_runs_nothing(self):
        mark = fresh("mark")
        self.assertEqual(subprocess.run([program()], env=environment(MARK=mark)).returncode, 0)
        self.assertTrue(os.path.exists(mark), "the program marks that it ran")
        os.unlink(mark)
        self.check_command(TOOK_OVER, f"neap would take over in {program()}", program(), "an argument", MARK=mark,
                           details=["references to malloc and free", "library " + LIBRARY])
        self.assertFalse(os.path.exists(mark))

    def test_runs_no_ifunc_resolver_nor_auditor(self):
        resolver = r"""
            #include <fcntl.h>
            #include <unistd.h>
            static int one(void) { return 1; }
            static int (*resolve(void))(void) { close(open(MARK, O_CREAT | O_WRONLY, 0666)); return one; }
            int chosen(void) __attribute__((ifunc("resolve")));
        """
        auditor = r"""
            #include <fcntl.h>
            #include <unistd.h>
            unsigned la_version(unsigned v) { close(open(MARK, O_CREAT | O_WRONLY, 0666)); return v; }
        """
        mark = fresh("mark")
        define = f'-DMARK="{mark}"'
        library = build("libresolver.so", resolver, "-shared", "-fPIC", define)
        path = build("resolving", "int chosen(void); int main(void) { return chosen() - 1; }", library)
        audit = build("libaudit.so", auditor, "-shared", "-fPIC", define)
        for env in ({}, {"LD_AUDIT": audit}):
            self.assertEqual(subprocess.run([path], env=environment(**env)).returncode, 0)
            self.assertTrue(os.path.exists(mark), "the code leaves a mark")
            os.unlink(mark)
        done = subprocess.run([NEAP, "check", "--library", LIBRARY, "--", path], capture_output=True, text=True,
                              env=environment())
        self.assertIn("would take over", done.stdout)
        self.assertFalse(os.path.exists(mark))
        # An auditor in the environment is loaded into neap itself too, by neap's own loader, before main: so count.
        counter = build("libcount.so", auditor.replace("O_CREAT", "O_CREAT | O_APPEND").replace(
            "close(open(MARK, O_CREAT | O_APPEND | O_WRONLY, 0666))",
            '{ int fd = open(MARK, O_CREAT | O_APPEND | O_WRONLY, 0666); if (write(fd, "x", 1) != 1) return 0; '
            "close(fd); }"), "-shared", "-fPIC", define)
        self.check_command(TOOK_OVER, "would take over", path, LD_AUDIT=counter)
        with open(mark) as file:
            self.assertEqual(file.read(), "x", "once for neap, not again for the dry run")

    def test_all_references_are_bound(self):
        """Also those that a program leaves to its first call (-z lazy)."""
        counts = []
        for name, source in (("calls_none", "int main(void) { return 0; }"), ("calls_both", PROGRAM)):
            path = build(name, source, "-Wl,-z,lazy")
            lines = self.check_command(TOOK_OVER, "would take over", path)
            counts.append(int(lines[1].split(" references")[0].split()[-1]))
        self.assertEqual(counts[1] - counts[0], 2)

    def test_found_in_path(self):
        self.check_command(TOOK_OVER, f"neap would take over in {program()}", "program", PATH="/nowhere:" + TMP)
        self.check_command(CANNOT_TELL, "'program' is not in PATH", "program", PATH="/nowhere")

    def test_existing_preload(self):
        self.check_command(TOOK_OVER, "would take over", program(), LD_PRELOAD=other_malloc())

    def test_library_of_the_tool(self):
        tool = copy(NEAP, "bin", "neap")
        self.check(CANNOT_TELL, "cannot find the library", "--", program(), tool=tool)
        library = os.path.join(os.path.dirname(os.path.dirname(tool)), "lib", "libneap.so")
        os.makedirs(os.path.dirname(library))
        shutil.copy(LIBRARY, library)
        self.check(TOOK_OVER, "would take over", "--", program(), tool=tool, details=[library])
        self.check(TOOK_OVER, "would take over", "--", program(), tool=tool, NEAP_LIBRARY=LIBRARY, details=[LIBRARY])

    def test_script(self):
        for text in (f"#!{program()}\n", f"#! \t{program()} an argument \n", "#!/usr/bin/env program\n",
                     "#!/usr/bin/env -S A=b program -x\n", f"#!{script(f'#!{program()}' + chr(10))}\n"):
            with self.subTest(text=text):
                path = script(text)
                self.check_command(TOOK_OVER, f"neap would take over in {program()}", path,
                                   PATH=TMP + ":" + os.environ["PATH"],
                                   details=[f"{path} is a script, run by {program()}"])

    def test_script_without_interpreter_line(self):
        path = script("exit 0\n")
        self.check_command(TOOK_OVER, "neap would take over in " + os.path.realpath("/bin/sh"), path)

    def test_script_of_a_static_interpreter(self):
        self.check_command(DID_NOT, "it is a static binary", script(f"#!{static_program()}\n"))

    def test_scripts_that_lead_nowhere(self):
        path = script("#!/nowhere/interpreter\n")
        self.check_command(CANNOT_TELL, f"{path}: its interpreter /nowhere/interpreter: No such file", path)
        path = script("#!/usr/bin/env no-such-interpreter\n")
        self.check_command(CANNOT_TELL, f"{path}: its interpreter 'no-such-interpreter' is not in PATH", path)
        loop = fresh("loop")
        with open(loop, "w") as file:
            file.write(f"#!{loop}\n")
        os.chmod(loop, 0o755)
        self.check_command(CANNOT_TELL, f"{loop}: too many interpreters", loop)

    def test_static_binary(self):
        self.check_command(DID_NOT, "it is a static binary", static_program())
        self.check_command(DID_NOT, "it is a static binary", build("static_pie", PROGRAM, "-static-pie", "-fPIE"))

    def test_linked_into_the_program(self):
        flags = f"-DFLAGS={READY | IN_FRONT}"
        for path in (build("static_neap", LINKED + PROGRAM, "-static", flags),
                     build("dynamic_neap", LINKED + PROGRAM, flags)):
            with self.subTest(path=path):
                self.check_command(TOOK_OVER, f"neap would serve malloc in {path}: it is linked into it", path)

    def test_linked_into_the_program_but_not_as_its_malloc(self):
        """As libneap-core.a is."""
        source = STATE + "void *neap_malloc(size_t n) { (void)n; return 0; }\n" + PROGRAM
        self.check_command(DID_NOT, "it is a static binary", build("static_core", source, "-static", "-DFLAGS=0"))
        self.check_command(TOOK_OVER, "would take over", build("dynamic_core", source, "-DFLAGS=0"))

    @unittest.skipUnless(IS_ROOT, "needs root to make a setuid file of another user")
    def test_setuid_and_setgid(self):
        if not takes_setuid(TMP):
            self.skipTest("the temporary directory is mounted nosuid")
        for mode, owner, status, line in (
            (0o4755, (NOBODY, 0), DID_NOT, "it has setuid"),
            (0o2755, (0, NOBODY), DID_NOT, "it has setgid"),
            (0o4755, (0, 0), TOOK_OVER, "would take over"),  # root gains nothing by it
            (0o2745, (0, NOBODY), TOOK_OVER, "would take over"),  # not executable by the group: no setgid
        ):
            with self.subTest(mode=oct(mode), owner=owner):
                path = copy(program())
                os.chown(path, *owner)
                os.chmod(path, mode)
                self.check_command(status, line, path)

    @unittest.skipUnless(IS_ROOT and shutil.which("setcap"), "needs root and setcap")
    def test_file_capabilities(self):
        path, tool, library = copy(program()), copy(NEAP), copy(LIBRARY)
        if subprocess.run(["setcap", "cap_net_raw+ep", path], capture_output=True).returncode:
            self.skipTest("the temporary directory takes no capabilities")
        self.check_command(DID_NOT, "it has file capabilities", path, tool=tool, user=NOBODY, library=library)
        self.check_command(TOOK_OVER, "would take over", path)  # root has them all anyway
        pid = self.start(path, LD_PRELOAD=library, user=NOBODY)
        self.check(DID_NOT, "raised privileges", pid)

    def test_wrong_architecture(self):
        self.check_command(DID_NOT, "it is for ", of_other_machine(program()))
        self.check_command(DID_NOT, "it is for ", program(), library=of_other_machine(LIBRARY))

    def test_wrong_class(self):
        try:
            path = build("program32", "void _start(void) {}", "-m32", "-nostdlib", "-pie",
                         "-Wl,--dynamic-linker=/lib/ld-linux.so.2,-E")
        except RuntimeError as error:
            self.skipTest(f"no 32-bit compiler: {error}")
        self.check_command(DID_NOT, "it is for i386, the library for x86-64", path)

    def test_32_bit_files_are_read(self):
        try:
            library = build("lib32.so", "int malloc_count; void malloc(void) { malloc_count++; }", "-m32", "-nostdlib",
                            "-shared", "-fPIC", "-fno-builtin")
            sysv = build("lib32sysv.so", "int malloc_count; void malloc(void) { malloc_count++; }", "-m32",
                         "-nostdlib", "-shared", "-fPIC", "-fno-builtin", "-Wl,--hash-style=sysv")
            static = build("static32", 'char neap_state[256] = "neap 1"; void malloc(void) {} void _start(void) {}'
                           'void neap_malloc(void) __attribute__((alias("malloc")));', "-m32", "-nostdlib",
                           "-static", "-ffreestanding")
        except RuntimeError as error:
            self.skipTest(f"no 32-bit compiler: {error}")
        self.check_command(DID_NOT, "it is for x86-64, the library for i386", program(), library=library)
        self.check_command(DID_NOT, "it is for x86-64, the library for i386", program(), library=sysv)
        self.check_command(TOOK_OVER, "it is linked into it", static)

    def test_library_with_the_old_hash_table(self):
        library = build("libneap-sysv.so", MALLOC + STATE, "-shared", "-fPIC", "-DFLAGS=3", "-Wl,--hash-style=sysv")
        self.check_command(TOOK_OVER, "would take over", program(), library=library)
        self.check(TOOK_OVER, "neap took over", self.start(program(), LD_PRELOAD=library))
        nothing = build("libnothing-sysv.so", "int nothing;", "-shared", "-fPIC", "-Wl,--hash-style=sysv")
        self.check_command(CANNOT_TELL, "does not export malloc", program(), library=nothing)
        # This table also has the symbols that a library only uses.
        user = build("libuser-sysv.so", "#include <stdlib.h>\nvoid *use(void) { return malloc(1); }", "-shared", "-fPIC",
                     "-Wl,--hash-style=sysv")
        self.check_command(CANNOT_TELL, "does not export malloc", program(), library=user)

    def test_another_malloc_in_front(self):
        path = build("own_malloc", MALLOC + PROGRAM)
        self.check_command(DID_NOT, f"the malloc of {path} stands in front", path, details=[f"to {path}"])

    def test_only_free_bound_elsewhere(self):
        path = build("own_free", "void free(void *p) { (void)p; }\n" + PROGRAM)
        self.check_command(DID_NOT, f"the malloc of {path} stands in front", path, details=["binds free to"])

    def test_path_with_a_space(self):
        path = copy(program(), "with a space", "my program")
        self.check_command(TOOK_OVER, f"neap would take over in {path}", path)
        self.check_command(CANNOT_TELL, "has a space or colon in its path", program(),
                           library=copy(LIBRARY, "with a space", "libneap.so"))

    def test_symbolic_link_with_a_library_beside_the_program(self):
        """$ORIGIN is that of the file, not of the link, as it is for a program that is run."""
        library = copy(build("libbeside.so", "int beside(void) { return 0; }", "-shared", "-fPIC"))
        path = os.path.join(os.path.dirname(library), "beside")
        shutil.copy(build("beside", "int beside(void); int main(void) { return beside(); }", library,
                          "-Wl,-rpath,$ORIGIN"), path)
        link = fresh("link")
        os.symlink(path, link)
        self.assertEqual(subprocess.run([link], env=environment()).returncode, 0)
        self.check_command(TOOK_OVER, "would take over", link)

    def test_program_that_would_not_start(self):
        library = build("libgone.so", "int gone(void) { return 0; }", "-shared", "-fPIC", "-Wl,-soname,libgone.so.1")
        path = build("needs_gone", "int gone(void); int main(void) { return gone(); }", library)
        self.check_command(CANNOT_TELL, "would not start", path, details=["libgone.so.1 => not found"])

    def test_commands_that_cannot_be_told(self):
        plain = fresh("plain")
        with open(plain, "w") as file:
            file.write("x")
        for path, line in (("no-such-command", "'no-such-command' is not in PATH"), (plain, "Permission denied"),
                           ("/nowhere/x", "No such file"), (TMP, "not a regular file"),
                           (interpreter_of(program()), "is the dynamic loader"),
                           (patched(program(), 5, b"\2"), "of the other byte order")):
            with self.subTest(path=path):
                self.check_command(CANNOT_TELL, line, path)

    def test_library_that_cannot_be_used(self):
        self.check_command(CANNOT_TELL, "No such file", program(), library="/nowhere/libneap.so")
        self.check_command(CANNOT_TELL, "is not an ELF file", program(), library=script("text"))

    def test_loader_refuses_the_library(self):
        # Its dynamic section is sound to the reader; only the loader minds the type of the file's ABI.
        library = patched(LIBRARY, 7, b"\x63")
        self.check_command(DID_NOT, "the loader refuses the library", program(), library=library,
                           details=["cannot be preloaded"])

    def test_strangers_loaders_are_not_run(self):
        mark = fresh("mark")
        real = interpreter_of(program())
        evil = build("evil_loader", PROGRAM)
        path = build("evil", "int main(void) { return 0; }", "-Wl,--dynamic-linker=" + evil)
        self.check_command(CANNOT_TELL, "is not glibc's", path, MARK=mark)
        self.assertFalse(os.path.exists(mark))
        if not IS_ROOT:
            copied = copy(real)
        else:
            copied = copy(real)
            os.chown(copied, NOBODY, NOBODY)
        path = build("strange", "int main(void) { return 0; }", "-Wl,--dynamic-linker=" + copied)
        self.check_command(CANNOT_TELL, "is not the system's", path)
