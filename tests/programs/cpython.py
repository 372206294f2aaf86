"""CPython's own test modules, of libpython3.11-testsuite: with PYTHONMALLOC=malloc, where every object comes from
neap, and with pymalloc. What fails under glibc in the same way is no failure here, but is said."""

import os
import re

from support import check, test

PYTHON = "/usr/bin/python3"  # Debian's
QUICK = ["test_json", "test_dict", "test_list", "test_bytes", "test_re", "test_ctypes"]
SLOW = ["test_asyncio", "test_multiprocessing_fork", "test_subprocess", "test_threading", "test_fork1"]
PRESENT = "import importlib.util, sys; sys.exit(importlib.util.find_spec('test.' + sys.argv[1]) is None)"


def failures(status, log):
    """The tests that failed; where there are none but the module failed, that."""
    if status == 0:
        return set()
    return set(re.findall(r"^(?:FAIL|ERROR): (\S+ \(\S+\))", log, re.M)) or {f"exit status {status}"}


def run_module(case, module, neap, env):
    directory = case.path("work-" + ("neap" if neap else "glibc"))
    os.mkdir(directory)
    done = case.run([PYTHON, "-m", "test", "-W", "--timeout", "350", module], neap=neap, report=False,
                    sees=["python3.*"] if neap else [], strict=False, env={**env, "TMPDIR": directory}, cwd=directory,
                    timeout=400, status=None)
    return done.status, done.out + done.err


def python_test(module, env):
    def run(case):
        check(os.path.exists(PYTHON), f"{PYTHON} is not installed")
        there = case.run([PYTHON, "-c", PRESENT, module], status=None, neap=False).status == 0
        check(there, f"{module} is not installed: libpython3.11-testsuite is missing")
        status, log = run_module(case, module, True, env)
        if status == 0:
            check("1 test OK." in log, f"{module} ran no tests", log)
            return
        ours = failures(status, log)
        theirs = failures(*run_module(case, module, False, env))
        only_ours = ", ".join(sorted(ours - theirs))
        check(not only_ours, f"{module}: fails under neap and not under glibc: {only_ours}", log)
        case.notes.append("fails under glibc too: " + ", ".join(sorted(ours)))

    return run


def register(module, mode, long):
    environments = {"malloc": {"PYTHONMALLOC": "malloc"}, "pymalloc": {}}
    test(f"cpython.{module}.{mode}", timeout=900, long=long)(python_test(module, environments[mode]))


for name in SLOW:
    register(name, "malloc", False)
for name in SLOW:
    register(name, "pymalloc", True)
for name in QUICK:
    register(name, "malloc", False)
    register(name, "pymalloc", False)
