#!/usr/bin/python3
"""Real programs as workloads: starts a server, works it through named phases, and stops it.

  apps.py --list                        a JSON line for each workload
  apps.py --run NAME [--profile quick|standard|full] [--scale X] [--seed N]

Only the server gets the allocator: NEAP_BENCH_PRELOAD is the library to preload into it, NEAP_BENCH_ENV a JSON object
of further variables. Phases go to the page that NEAP_BENCH_PAGE names or, without one, to stdout with the server's
memory. The last line of stdout is a JSON object: throughput, latencies, CPU time of the server. Exit status: 0 when all
went well, 3 when something is missing here, else 1; the reason is on stderr.
"""

import argparse
import contextlib
import importlib
import json
import math
import os
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True

import needs  # noqa: E402
from bench import MALLOC_MODE, PROFILES, Bench  # noqa: E402
from errors import Failed, Stopped, stop  # noqa: E402
from page import Page  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build/release/bench")
MODULES = [
    "redis_mixed",
    "asgi_orm",
    "client_churn",
    "session_dict",
    "frame_batch",
    "tcp_conn",
    "long_conn",
    "ruby_puma",
    "nginx_static",
    "memcached_mixed",
    "py_burst",
]


def all_worlds():
    """(world, mode) by name."""
    worlds = {}
    for module in MODULES:
        for world in importlib.import_module(f"worlds.{module}").WORLDS:
            worlds[world.name] = (world, "")
            if world.is_python:
                worlds[world.name + MALLOC_MODE] = (world, MALLOC_MODE)
    return worlds


def list_worlds(worlds):
    for name, (world, mode) in worlds.items():
        fields = {
            "name": name,
            "kind": "app",
            "world": world.world,
            "summary": world.summary + (" (PYTHONMALLOC=malloc)" if mode else ""),
            **{f"{profile}_seconds": PROFILES[profile].seconds for profile in PROFILES},
            "needs": world.needs,
        }
        print(json.dumps(fields))


def positive(text):
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def port_number(text):
    number = int(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return number


def parse_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="print the workloads, a JSON object a line")
    what.add_argument("--run", metavar="NAME", help="run one")
    parser.add_argument("--profile", choices=PROFILES, default="quick", help="how much and how long (quick)")
    parser.add_argument("--scale", type=positive, default=1.0, metavar="X", help="that many times the work (1)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the requests (1)")
    parser.add_argument("--silence", type=positive, metavar="SECONDS", help="another length of the silent phase")
    parser.add_argument("--port", type=port_number, default=0, metavar="N", help="of the server (any free one)")
    parser.add_argument("--programs", metavar="DIR", default=PROGRAMS, help="where the built servers are (%(default)s)")
    return parser.parse_args(arguments)


def open_page():
    path = os.environ.get("NEAP_BENCH_PAGE")
    if not path:
        return None
    try:
        return Page(path)
    except (OSError, ValueError) as error:
        raise Failed(f"NEAP_BENCH_PAGE: {error}") from error


def scratch_directory():
    """Its path is fit for LD_PRELOAD and for Unix sockets."""
    chosen = tempfile.gettempdir()
    fit = len(chosen) < 60 and not any(c in ":$" or c.isspace() for c in chosen)
    return tempfile.mkdtemp(prefix="neap-apps-", dir=chosen if fit else "/tmp")


def run_world(name, worlds, options):
    if name not in worlds:
        raise Failed(f"there is no workload {name}; --list shows them")
    world, mode = worlds[name]
    options.programs = os.path.abspath(options.programs)
    needs.check(world.needs, options.programs)
    directory = scratch_directory()
    try:
        with contextlib.closing(Bench(world, mode, options, open_page(), directory)) as bench:
            world.run(bench)
            print(json.dumps(bench.result()), flush=True)
            bench.finish()
    finally:
        # Nothing is left to end: the servers' contexts are closed. The directory shall go, whoever hurries us.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        shutil.rmtree(directory, ignore_errors=True)


def time_limit(options):
    """Seconds. Far above what a run takes: it ends those that hang."""
    return 60 + round(3 * PROFILES[options.profile].seconds * max(1, options.scale))


def stop_on_signals(seconds):
    def interrupted(number, _frame):
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # what is started is ended once
        stop(Stopped("interrupted", 128 + number))

    def late(*_):
        stop(Stopped(f"not finished after {seconds} s", 1))

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)


def main(arguments=None):
    options = parse_options(arguments)
    worlds = all_worlds()
    if options.list:
        list_worlds(worlds)
        return 0
    stop_on_signals(time_limit(options))
    try:
        run_world(options.run, worlds, options)
    except (Failed, Stopped) as error:
        print(f"apps.py: {error}", file=sys.stderr)
        return error.status
    except OSError as error:  # such as a full disk
        print(f"apps.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
