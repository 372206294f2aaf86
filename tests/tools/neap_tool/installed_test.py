"""The installed `neap`, built here with the directories of an installation."""

import os
import shutil
import subprocess

from neap_tool.support import (
    CANNOT_TELL, DID_NOT, LIBRARY, NeapTest, ROOT, TMP, TOOK_OVER, fresh, lib_token, neap, of_other_machine, program,
)


class InstalledUnderMultiarch(NeapTest):
    """The installed tool names its library with the loader's $LIB where that leads to the same file."""

    def install(self, libdir, directory=None):
        tool = fresh("usr", "bin", "neap")
        library = os.path.join(os.path.dirname(os.path.dirname(tool)), directory or libdir, "libneap.so.0")
        os.makedirs(os.path.dirname(library))
        shutil.copy(LIBRARY, library)
        sources = os.path.join(ROOT, "tools", "neap")
        subprocess.run(["cc", "-D_GNU_SOURCE", f'-DNEAP_LIBDIR="{libdir}"', f'-DNEAP_LIBDIR_FROM_BINDIR="../{libdir}"',
                        "-I", os.path.join(ROOT, "include"), "-o", tool,
                        *sorted(os.path.join(sources, n) for n in os.listdir(sources) if n.endswith(".c"))],
                       check=True)
        return tool, library

    def test_token(self):
        token = lib_token()
        if token == "lib":
            self.skipTest("this system has no multiarch libdir")
        tool, library = self.install(token)
        written = library.replace(token, "$LIB")
        done = neap("run", "--", "printenv", "LD_PRELOAD", tool=tool)
        self.assertEqual((done.stdout, done.stderr), (written + "\n", ""))
        done = neap("run", "--", "printenv", "LD_PRELOAD", tool=tool, LD_PRELOAD=library + ":libm.so.6")
        self.assertEqual(done.stdout, written + ":libm.so.6\n")
        self.check(TOOK_OVER, "neap took over", self.start(tool, "run", "--", program()), tool=tool)
        self.check(TOOK_OVER, "neap would take over", "--", program(), tool=tool, details=["$LIB"])
        # A program of another architecture would take its own library: nothing here speaks against running it.
        foreign = of_other_machine(program())
        self.check(CANNOT_TELL, f"{foreign} would not start", "--", foreign, tool=tool)
        done = neap("run", "--", foreign, tool=tool)
        self.assertNotIn("library", done.stderr)

    def test_missing_by_token(self):
        missing = os.path.join(TMP, "gone", "$LIB", "libneap.so.0")
        pid = self.start(program(), LD_PRELOAD=missing)
        self.check(DID_NOT, missing.replace("$LIB", lib_token()) + ", which cannot be read", pid)

    def test_absolute_path_where_the_token_leads_elsewhere(self):
        tool, library = self.install("lib/of-no-such-machine")
        done = neap("run", "--", "printenv", "LD_PRELOAD", tool=tool)
        self.assertEqual((done.stdout, done.stderr), (library + "\n", ""))
