#!/usr/bin/python3
"""Runs two real programs under glibc's malloc and under neap, and draws their resident memory.

A Python service and redis each do a burst of work, drop nearly all of it, and fall silent. Exit status: 0 when both
programs were measured under both allocators, else 1.
"""

import argparse
import os
import shutil
import signal
import sys

import run_redis
import run_service
from arms import Arm, DemoError, Workspace, check_not_preloaded_everywhere
from chart import ASCII, UNICODE, mb_after_silence, render_charts, render_table
from sampler import peak_mb

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SILENCE = 8
TYPICAL_WORK_SECONDS = 5  # of one run beside its silence, for the remaining time
WIDEST = 160
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PROGRAMS = {
    "python": (run_service, "Python service (PYTHONMALLOC=malloc in both arms, so that malloc is what is compared)"),
    "redis": (run_redis, "redis-server (glibc arm: LD_PRELOAD=libc.so.6, as Debian links redis with jemalloc)"),
}


def progress(message):
    print(f"demo: {message}", file=sys.stderr, flush=True)


def locale_is_utf8(environment_bytes):
    """By the environment that we were started with: Python itself turns the C locale into UTF-8."""
    variables = dict(entry.split(b"=", 1) for entry in environment_bytes.split(b"\0") if b"=" in entry)
    for name in (b"LC_ALL", b"LC_CTYPE", b"LANG"):
        if variables.get(name):
            return variables[name].lower().replace(b"-", b"").partition(b".")[2].startswith(b"utf8")
    return False


def choose_glyphs(stream):
    with open("/proc/self/environ", "rb") as environment:
        utf8 = locale_is_utf8(environment.read())
    return UNICODE if utf8 and (stream.encoding or "").lower().replace("-", "") == "utf8" else ASCII


def chart_width():
    return min(WIDEST, shutil.get_terminal_size((100, 24)).columns)


def parse_options(arguments):
    description, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=description, epilog=rest)
    parser.add_argument(
        "--neap", metavar="LIB", default=os.path.join(ROOT, "build/release/lib/libneap.so"), help="library to preload"
    )
    parser.add_argument("--name", default="neap", help="what to call it (default neap)")
    parser.add_argument("--only", choices=PROGRAMS, help="measure one program alone")
    parser.add_argument("--silence", type=float, default=SILENCE, help=f"seconds, 3.5 or more (default {SILENCE})")
    options = parser.parse_args(arguments)
    if options.silence < 3.5:
        parser.error("--silence: the figures need 3.5 s or more")
    return options


def make_arms(options):
    library = os.path.abspath(options.neap)
    if not os.path.isfile(library):
        raise DemoError(f"{library} does not exist; tools/bootstrap build makes it")
    check_not_preloaded_everywhere(library)
    return Arm(os.confstr("CS_GNU_LIBC_VERSION") or "libc", None), Arm(options.name, library)


def summary(run):
    after = mb_after_silence(run, 3)
    return f"peak {peak_mb(run.samples) or 0:.0f} MB" + (f", {after:.0f} MB after 3 s of silence" if after else "")


def show(title, runs, glyphs):
    print(f"\n{title}\n{runs[0].measure} at 10 Hz\n")
    for line in render_charts(runs, chart_width(), glyphs) + [""] + render_table(runs):
        print(line)
    for run in runs:
        print(f"{run.arm}: {run.note}")
    print(flush=True)


def measure_all(options, arms):
    names = [options.only] if options.only else list(PROGRAMS)
    left_out = run_redis.missing_program() if "redis" in names else None
    if left_out:
        progress(f"{left_out} is not installed (Debian packages redis-server and redis-tools), leaving redis out")
        names.remove("redis")
    done, total = 0, len(names) * len(arms)
    for number, name in enumerate(names):
        module, title = PROGRAMS[name]
        runs = {}
        # The programs take turns in which arm is first.
        for arm in arms if number % 2 == 0 else reversed(arms):
            left = (total - done) * (options.silence + TYPICAL_WORK_SECONDS)
            progress(f"[{done + 1}/{total}] {name} under {arm.name} (about {left:.0f} s left)")
            with Workspace() as workspace:
                runs[arm] = module.measure(arm, workspace, options.silence)
            done += 1
            progress(f"      {summary(runs[arm])}")
        show(title, [runs[arm] for arm in arms], choose_glyphs(sys.stdout))
    if left_out:
        raise DemoError(f"redis was not measured: {left_out} is not installed")


def interrupt(*_):
    raise KeyboardInterrupt


def main(arguments=None):
    options = parse_options(arguments)
    for number in STOP_SIGNALS:  # SIGINT too: it is ignored in what a script starts in the background
        signal.signal(number, interrupt)
    try:
        measure_all(options, make_arms(options))
    except DemoError as error:
        progress(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        progress("interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
