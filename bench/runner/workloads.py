"""What can be run: programs that list their workloads as lines of JSON, and run one by name."""

import fnmatch
import json
import os
from typing import NamedTuple

from .command import read_lines
from .errors import BenchError, UsageError

HERE = os.path.dirname(os.path.realpath(__file__))
KINDS = ("scenario", "app", "micro")
PROFILES = ("quick", "standard", "full")


class Workload(NamedTuple):
    name: str
    kind: str  # of KINDS: a scenario is preloaded as a whole, of an app only the server, micro brings its own clock
    world: str  # the row of the table of worlds that it stands for
    summary: str
    seconds: dict  # about, by profile
    needs: list
    command: list

    def estimate(self, profile):
        return self.seconds[profile]


def programs(bench_directory, given):
    """The programs that list workloads, (those that are there, those that are not)."""
    apps = os.path.join(os.path.dirname(HERE), "apps", "apps.py")
    known = [os.path.join(bench_directory, "neap-scenarios"), apps, os.path.join(bench_directory, "neap-micro")]
    for path in given:
        if not os.path.isfile(path):
            raise BenchError(f"--program {path}: does not exist")
    there = [os.path.abspath(path) for path in given] + [path for path in known if os.path.isfile(path)]
    return there, [path for path in known if not os.path.isfile(path)]


def command_of(path, bench_directory):
    if not path.endswith(".py"):
        return [path]
    command = ["/usr/bin/python3", path]
    return command + ["--programs", bench_directory] if os.path.basename(path) == "apps.py" else command


def parse_line(line, command):
    try:
        fields = json.loads(line)
        quick = float(fields["quick_seconds"])
        standard = float(fields.get("standard_seconds", quick))
        seconds = {"quick": quick, "standard": standard, "full": float(fields.get("full_seconds", 5 * standard))}
        workload = Workload(
            fields["name"],
            fields["kind"],
            fields.get("world", ""),
            fields.get("summary", ""),
            seconds,
            fields.get("needs", []),
            command,
        )
        if workload.kind not in KINDS:
            raise ValueError(f"kind {workload.kind}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchError(f"{' '.join(command)} --list: '{line}' describes no workload: {error}") from error
    return workload


def discover(bench_directory, given=()):
    """(workloads, programs that are missing)"""
    there, missing = programs(bench_directory, given)
    found = {}
    for path in there:
        command = command_of(path, bench_directory)
        for line in read_lines([*command, "--list"]):
            workload = parse_line(line, command)
            found.setdefault(workload.name, workload)  # those of a --program come first, in front of ours
    if not found:
        raise BenchError("no workloads: " + ", ".join(missing) + " not found; configure with -DNEAP_BENCH=ON and build")
    return list(found.values()), missing


def choose(everything, patterns, what):
    """Those whose names match, in the order of the patterns; each pattern has to match."""
    chosen = []
    for pattern in patterns:
        matching = [each for each in everything if fnmatch.fnmatchcase(each.name, pattern)]
        if not matching:
            names = ", ".join(each.name for each in everything)
            raise UsageError(f"there is no {what} '{pattern}'; there are: {names}")
        chosen += [each for each in matching if each not in chosen]
    return chosen
