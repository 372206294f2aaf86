"""What the tests have in common: a registry of tests, and the Case that each gets, with which it runs programs
under neap or under glibc, starts servers, and leaves nothing behind."""

import dataclasses
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from takeover import Watch, children, descendants, mappings, resident

TESTS = {}  # name: Test, in the order in which they are to be started
# Debian has PostgreSQL's programs in a folder of their own.
PATH = ":".join(
    ["/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"))]
)
LONG_PATIENCE = 4  # how much more time everything has with --long
TAIL = 25  # lines of a log that a failure shows
LIVE = re.compile(r"^neap: live (\d+), cached (\d+)")
COMPLAINT = re.compile(r"^neap: .*(\(0x|internal check failed|out of memory|ignored)")


class Failed(Exception):
    pass


@dataclasses.dataclass
class Test:
    name: str
    function: object
    timeout: float  # seconds
    long: bool  # only with --long


def test(name=None, timeout=120, long=False, needs=()):
    """Registers a test. `needs` are the commands that must be installed."""

    def register(function):
        full = name or function.__name__

        def run(case):
            for command in needs:
                case.program(command)
            return function(case)

        TESTS[full] = Test(full, run, timeout, long)
        return function

    return register


def tail(text):
    lines = text.rstrip("\n").splitlines()
    return "\n".join(lines[-TAIL:])


def check(condition, why, log=""):
    if not condition:
        raise Failed(f"{why}\n{tail(log)}" if log else why)


def check_equal(got, expected, what):
    """For outputs of one line or many: shows the first line that differs."""
    if got == expected:
        return
    if isinstance(got, bytes):
        raise Failed(f"{what}: {len(got)} bytes differ from the {len(expected)} that were expected")
    got, expected = str(got).splitlines(), str(expected).splitlines()
    for i in range(max(len(got), len(expected))):
        a, b = (lines[i] if i < len(lines) else "(the end)" for lines in (got, expected))
        if a != b:
            raise Failed(f"{what}: line {i + 1}: got\n{a[:300]}\nexpected\n{b[:300]}")
    raise Failed(f"{what}: differs in the ends of lines")


def check_reports(text, what):
    """Takes the exit reports out of what a program wrote to stderr; answers the rest and how many there were of
    processes that neap served. A complaint of neap's is a failure."""
    rest, served = [], 0
    for line in text.splitlines(keepends=True):
        check(not COMPLAINT.match(line), f"{what}: neap complained", text)
        live = LIVE.match(line)
        served += live is not None and (int(live[1]) > 0 or int(live[2]) > 0)
        if not line.startswith("neap: "):
            rest.append(line)
    return "".join(rest), served


@dataclasses.dataclass
class Settings:
    """What the user chose for all tests."""

    library: object  # takeover.Library
    long: bool
    options: list  # of neap

    def patience(self):
        return LONG_PATIENCE if self.long else 1


@dataclasses.dataclass
class Done:
    out: str
    err: str
    status: int


class Case:
    def __init__(self, settings, directory):
        self.library, self.long, self.options = settings.library, settings.long, settings.options
        self.directory = directory
        self.patience = settings.patience()
        self.notes = []
        self.home = self.path("home")
        os.mkdir(self.home)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def write(self, name, text):
        path = self.path(name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def size(self, default, long):
        return long if self.long else default

    def program(self, name):
        """The path of an installed program."""
        path = shutil.which(name, path=PATH)
        check(path is not None, f"{name} is not installed")
        return path

    def environment(self, neap, report, extra):
        environment = {"PATH": PATH, "HOME": self.home, "TMPDIR": self.directory, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        if neap:
            environment["LD_PRELOAD"] = self.library.path
            environment["NEAP_OPTIONS"] = ",".join(self.options + ["stats_exit:on"] * report)
        environment.update(extra or {})
        return environment

    def run(self, argv, *, neap=True, report=True, sees=(), strict=True, env=None, input=None, cwd=None,
            timeout=100, status=0):
        """Runs a program to its end and checks its exit status (None: whatever it is).

        Under neap, `report` demands an exit report of at least one process that neap served. `sees` names executables
        that must be seen running with neap in front; it then is also an error if any process runs for long without
        neap, unless strict is off."""
        what = " ".join([os.path.basename(argv[0]), *argv[1:]]).replace(self.directory + "/", "")[:150]
        timeout *= self.patience
        with open(self.path("stdout"), "w+b") as out, open(self.path("stderr"), "w+b") as err, \
                open(os.devnull if input is None else input, "rb") as given:
            process = subprocess.Popen(argv, stdin=given, stdout=out, stderr=err, cwd=cwd or self.directory,
                                       env=self.environment(neap, report, env), start_new_session=True)
            watch = Watch(process.pid, self.library) if neap and sees else None
            try:
                got = process.wait(timeout)
            except subprocess.TimeoutExpired:
                got = None
            if watch is not None:
                watch.stop()
            if got is None:
                kill_all([process.pid, *descendants(process.pid)])
                process.wait()
            out.seek(0), err.seek(0)
            output, errors = out.read().decode(errors="surrogateescape"), err.read().decode(errors="replace")
        errors, served = check_reports(errors, what) if neap else (errors, 0)
        log = errors if errors.strip() else output
        check(got is not None, f"{what}: not finished after {timeout} s", log)
        check(status is None or got == status, f"{what}: exit status {got}", log)
        if neap and report:
            check(served > 0, f"{what}: no exit report of neap", log)
        if watch and got >= 0:
            for name in sees:
                seen = any(re.fullmatch(name, taken) for taken in watch.taken)
                check(seen, f"{what}: {name} was not seen with neap in front")
            without = sorted({executable for _, executable in watch.without})
            check(not (strict and without), f"{what}: ran without neap: {without}")
        return Done(output, errors, got)

    def run_both(self, argv, **options):
        """Runs under neap and under glibc, and checks that the output is the same, which it answers."""
        under_neap = self.run(argv, **options)
        under_glibc = self.run(argv, **{**options, "neap": False})
        check_equal(under_neap.out, under_glibc.out, f"{os.path.basename(argv[0])}: output")
        check_equal(under_neap.err, under_glibc.err, f"{os.path.basename(argv[0])}: stderr")
        return under_neap.out

    def start(self, argv, ready, **options):
        """Starts a server, and waits until ready() answers true or no longer raises OSError or Failed."""
        return Server(self, argv, ready, **options)


class Server:
    """A running server with its log; a context manager that stops it."""

    def __init__(self, case, argv, ready, *, name=None, neap=True, env=None, stop=signal.SIGTERM, status=0, timeout=30,
                 report=None):
        """`report` is the file that its stderr goes to in the end, where that is not the one it is started with."""
        self.case, self.neap, self.stop_signal, self.status = case, neap, stop, status
        self.name = name or os.path.basename(argv[0])
        self.log_path = case.path(f"{self.name}.{time.monotonic_ns()}.log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=case.directory,
                                            env=case.environment(neap, True, env), start_new_session=True)
        self.pid = self.process.pid
        self.report_path = report or self.log_path
        if not self.wait_for(ready, timeout):
            self.kill()
            raise Failed(f"{self.name}: not ready after {timeout} s\n{tail(self.log())}")
        if neap:
            self.check_takeover()

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def wait_for(self, condition, timeout=30):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if condition():
                    return True
            except (OSError, Failed):
                pass
            time.sleep(0.02)
        return False

    def processes(self):
        return [self.pid, *descendants(self.pid)]

    def check_takeover(self):
        for pid in self.processes():
            took_over = self.wait_for(lambda: self.case.library.took_over(pid) or is_zombie(pid), timeout=5)
            check(took_over, f"{self.name}: neap did not take over in process {pid}", self.log())

    def state(self):
        return self.case.library.state(self.pid)

    def resident(self):
        return resident(self.pid, self.state())

    def maps(self, part):
        """Whether a file with that in its name is mapped."""
        return any(part in line[5] for line in mappings(self.pid) if len(line) > 5)

    def kill(self):
        kill_all(self.processes())
        self.process.wait()

    def stop(self, ask=None):
        """Asks it to end, by a signal or what is given, and checks that it does, well, and that neap reports."""
        check(self.process.poll() is None, f"{self.name}: ended by itself", self.log())
        if ask is None:
            self.process.send_signal(self.stop_signal)
        else:
            ask()
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name}: still there 30 s after it was told to end\n{tail(self.log())}") from None
        check(status == self.status, f"{self.name}: exit status {status}", self.log())
        if self.neap:
            with open(self.report_path, errors="replace") as report:
                _, served = check_reports(report.read(), self.name)
            check(served > 0, f"{self.name}: no exit report of neap", self.log())

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        running = self.process.poll() is None
        try:
            if running and kind is None:
                self.stop()
        finally:
            if running:
                self.kill()
        if kind is not None and issubclass(kind, Exception):
            if not running and self.process.returncode != self.status:
                raise Failed(f"{self.name}: ended with {self.process.returncode} ({value})\n{tail(self.log())}")
            if not issubclass(kind, Failed):  # what a client of it ran into
                raise Failed(f"{self.name}: {value!r}\n{tail(self.log())}")


def kill_all(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def accepts(port):
    """A condition for Case.start: something listens there."""

    def ready():
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True

    return ready


def end_descendants(grace=3.0):
    """Ends whatever descends from this process, which must be a subreaper, after a grace period; answers the command
    lines of what had to be killed."""
    me, killed = os.getpid(), []
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and alive(me):
        reap()
        time.sleep(0.02)
    deadline = time.monotonic() + 10
    while (left := alive(me)) and time.monotonic() < deadline:
        killed += [command_line(pid) for pid in left]
        kill_all(left)
        time.sleep(0.02)
        reap()
    return killed


def alive(pid):
    return [p for p in descendants(pid) if not is_zombie(p)]


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as f:
            return f.read().replace("\0", " ").strip()[:200]
    except OSError:
        return str(pid)


def reap():
    for child in children(os.getpid()):
        try:
            os.waitpid(child, os.WNOHANG)
        except ChildProcessError:
            pass
