"""What the tests of the command `neap` share: compiling, starting, and reading verdicts."""

import os
import shutil
import struct
import subprocess
import tempfile
import unittest

from neap_tool.sources import FIND_OUT, MALLOC, PROGRAM, STATE

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
NOBODY = 65534
READY, IN_FRONT = 1, 2
TOOK_OVER, DID_NOT, CANNOT_TELL = 0, 1, 2
EM_AARCH64, EM_X86_64 = 183, 62
E_TYPE, E_MACHINE = 16, 18  # offsets in the ELF header
TIMEOUT = 60

NEAP = LIBRARY = TMP = None  # set by configure(), before the modules of tests are imported
IS_ROOT = os.geteuid() == 0


def configure(neap_path, library, directory):
    global NEAP, LIBRARY, TMP
    NEAP = os.path.abspath(neap_path)
    TMP = os.path.realpath(directory)
    os.chmod(TMP, 0o755)
    LIBRARY = os.path.abspath(library) if library else stand_in_library()


def build(name, source, *flags):
    """Compiles source to a file of that name, once, and answers its path."""
    path = os.path.join(TMP, name)
    if not os.path.exists(path):
        command = ["cc", "-O1", "-I", os.path.join(ROOT, "include"), "-x", "c", "-", "-x", "none", "-o", path, *flags]
        done = subprocess.run(command, input=source, text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(" ".join(command) + "\n" + done.stderr)
    return path


def program():
    return build("program", PROGRAM)


def static_program():
    return build("static_program", PROGRAM, "-static")


def stand_in(flags, *defines):
    name = "libneap-" + "-".join([str(flags), *(d.replace('"', "").replace(" ", "_") for d in defines)]) + ".so"
    return build(name, MALLOC + STATE, "-shared", "-fPIC", f"-DFLAGS={flags}", *("-D" + d for d in defines))


def stand_in_library():
    return build("libneap.so", MALLOC + STATE + FIND_OUT, "-shared", "-fPIC", "-D_GNU_SOURCE", f"-DFLAGS={READY}",
                 "-Wl,-soname,libneap.so.0")


def other_malloc():
    return build("libother.so", MALLOC, "-shared", "-fPIC")


def fresh(*parts):
    """A path in a new directory that everybody may look into."""
    directory = tempfile.mkdtemp(dir=TMP)
    os.chmod(directory, 0o755)
    path = os.path.join(directory, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def copy(source, *parts):
    path = fresh(*(parts or (os.path.basename(source),)))
    shutil.copy(source, path)
    return path


def patched(source, offset, data, *parts):
    path = copy(source, *parts)
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
    return path


def of_other_machine(source, *parts):
    with open(source, "rb") as file:
        machine = struct.unpack_from("=H", file.read(20), E_MACHINE)[0]
    other = EM_X86_64 if machine == EM_AARCH64 else EM_AARCH64
    return patched(source, E_MACHINE, struct.pack("=H", other), *parts)


def script(text, *parts):
    path = fresh(*(parts or ("script",)))
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


def interpreter_of(path):
    for line in subprocess.run(["readelf", "-l", path], text=True, capture_output=True).stdout.splitlines():
        if "program interpreter:" in line:
            return line.split(": ")[1].rstrip("]")
    raise RuntimeError("no interpreter in " + path)


def lib_token():
    """What the loader makes of $LIB, told by where it takes the C library from."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            if line.rstrip().endswith("/libc.so.6"):
                directory = os.path.dirname(line.split()[5])
                return directory[5:] if directory.startswith("/usr/") else directory[1:]
    raise RuntimeError("no C library")


def takes_setuid(path):
    return IS_ROOT and not os.statvfs(path).f_flag & os.ST_NOSUID


def environment(**changes):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "NEAP_", "PYTHONMALLOC", "MARK"))}
    for key, value in changes.items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = value
    return env


def as_user(user):
    if user is None:
        return None

    def drop():
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)

    return drop


def neap(*args, tool=None, cwd=None, user=None, prefix=(), **env):
    done = subprocess.run([*prefix, tool or NEAP, *args], text=True, capture_output=True, env=environment(**env),
                          cwd=cwd, preexec_fn=as_user(user), timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    if done.returncode < 0:
        raise AssertionError(f"neap {args} was killed by signal {-done.returncode}: {done.stderr}")
    return done


class NeapTest(unittest.TestCase):
    def start(self, *command, user=None, **env):
        """Starts a command that says "ready" and answers its process id; it ends with the test."""
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=environment(**env), preexec_fn=as_user(user))
        self.addCleanup(self.stop, process)
        line = process.stdout.readline()
        self.assertEqual(line, b"ready\n", process.stderr.read() if line != b"ready\n" else "")
        return process.pid

    def stop(self, process):
        process.stdin.close()
        try:
            process.wait(TIMEOUT)
        finally:
            process.stdout.close()
            process.stderr.close()

    def check(self, status, line, *args, details=(), **more):
        """Runs `neap check` and compares exit code, the verdict line's part, and parts of the details."""
        done = neap("check", *(str(a) for a in args), **more)
        lines = done.stdout.splitlines()
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertIn(line, lines[0])
        opening = {TOOK_OVER: "neap ", DID_NOT: "neap ", CANNOT_TELL: "cannot tell"}[status]
        self.assertTrue(lines[0].startswith(opening), lines[0])
        self.assertTrue(all(detail.startswith("  ") for detail in lines[1:]), done.stdout)
        for detail in details:
            self.assertIn(detail, "\n".join(lines[1:]))
        self.assertEqual(done.stderr, "")
        return lines

    def run_fails(self, status, message, *args, **more):
        done = neap("run", *args, **more)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(message, done.stderr)
        self.assertEqual(done.stdout, "")
        return done
