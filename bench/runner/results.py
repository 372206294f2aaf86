"""The directory of a bake-off: what was planned, every run as it ended, and in the end all of it in one file.

  plan.json      options, allocators, workloads, tasks
  runs.jsonl     a line for each task that is done; added to at once, so that nothing is lost when we are ended
  results.json   everything; figures.csv, samples.csv and report.html are made from it
"""

import csv
import errno
import json
import os

from . import figures
from .errors import BenchError, UsageError
from .plan import RUN, Task
from .sampler import COLUMNS

SCHEMA = "neap-bench/1"


def say_why(error, path):
    if error.errno == errno.ENOSPC:
        return BenchError(f"no space left for {path}; the runs that are there are kept")
    return BenchError(f"{path}: {error.strerror}")


class Store:
    def __init__(self, directory):
        self.directory = directory

    def path(self, name):
        return os.path.join(self.directory, name)

    def begin(self, plan):
        try:
            os.makedirs(self.directory, exist_ok=True)
            if os.path.exists(self.path("plan.json")):
                raise UsageError(
                    f"{self.directory} has a bake-off already: --resume {self.directory}, or another --out"
                )
            self.write("plan.json", json.dumps(plan, indent=1))
        except OSError as error:
            raise say_why(error, self.directory) from error

    def write(self, name, text):
        """As a whole or not at all."""
        part = self.path(name + ".part")
        try:
            with open(part, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(part, self.path(name))
        except OSError as error:
            if os.path.exists(part):
                os.unlink(part)
            raise say_why(error, self.path(name)) from error

    def plan(self):
        try:
            with open(self.path("plan.json"), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError as error:
            raise UsageError(f"{self.directory} has no plan.json: nothing to resume") from error
        except ValueError as error:
            raise BenchError(f"{self.path('plan.json')} is damaged: {error}") from error

    def add(self, run):
        path = self.path("runs.jsonl")
        line = json.dumps(run, separators=(",", ":")).encode() + b"\n"
        file = None
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            size = os.lseek(file, 0, os.SEEK_END)
            written = os.write(file, line)
            if written < len(line):
                os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise say_why(error, path) from error
        finally:
            if file is not None:
                os.close(file)

    def runs(self):
        """Those that are there; a last line that was torn is left out, and cut off."""
        path = self.path("runs.jsonl")
        if not os.path.exists(path):
            return []
        with open(path, "rb") as file:
            text = file.read()
        whole, newline, rest = text.rpartition(b"\n")
        if rest:
            os.truncate(path, len(whole) + len(newline))
        return [json.loads(line) for line in whole.splitlines()]


def done_tasks(runs):
    return {Task(run["what"], run["workload"], run["allocator"], run["repeat"]) for run in runs}


def summarise(plan, runs):
    """{workload: {allocator: {figure: …}}}, with what the tasks beside the measured runs found."""
    summary = {}
    for workload in plan["workloads"]:
        rows = {}
        for allocator in plan["allocators"]:
            mine = [run for run in runs if (run["workload"], run["allocator"]) == (workload["name"], allocator["name"])]
            calls = next((run["madvise_calls"] for run in mine if run.get("madvise_calls") is not None), None)
            limit = next((run["least_limit"] for run in mine if run.get("least_limit")), None)
            good = [run for run in mine if run["what"] == RUN and run["status"] == "ok"]
            for run in good:
                thousands = run["final"]["operations"] / 1000
                if calls is not None and thousands >= 1:
                    run["figures"]["madvise_per_1000"] = calls / thousands
                if limit is not None:
                    run["figures"]["least_limit_mb"] = limit / 1e6
            if good:
                rows[allocator["name"]] = figures.over_runs(good)
        if any(rows.values()):
            summary[workload["name"]] = rows
    return summary


def summarise_micro(runs):
    """{benchmark: {allocator: nanoseconds of CPU an iteration}}, the least of the repeats."""
    found = {}
    for run in runs:
        for name, times in (run.get("benchmarks") or {}).items():
            row = found.setdefault(name, {})
            row[run["allocator"]] = min(times["cpu_ns"], row.get(run["allocator"], times["cpu_ns"]))
    return found


def whole(plan, runs):
    return {
        "schema": SCHEMA,
        "environment": plan["environment"],
        "options": plan["options"],
        "notes": plan["notes"],
        "allocators": plan["allocators"],
        "workloads": plan["workloads"],
        "tasks": len(plan["tasks"]),
        "summary": summarise(plan, runs),
        "micro": summarise_micro(runs),
        "runs": runs,
    }


def dumps(whole):
    return json.dumps(whole, separators=(",", ":"))


def load(path):
    """A results.json, or that of a directory."""
    if os.path.isdir(path):
        path = os.path.join(path, "results.json")
    try:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from error
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        raise UsageError(f"{path} holds no results of neap bench")
    return result


def write_csv(store, result):
    for name, header, rows in (
        ("figures.csv", ("workload", "allocator", "repeat", "status", "figure", "value"), figure_rows(result)),
        ("samples.csv", ("workload", "allocator", "repeat", "phase_name", *COLUMNS), sample_rows(result)),
    ):
        path = store.path(name)
        try:
            with open(path, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(header)
                writer.writerows(rows)
        except OSError as error:
            raise say_why(error, path) from error


def figure_rows(result):
    for run in result["runs"]:
        key = (run["workload"], run["allocator"], run["repeat"])
        if run["what"] != RUN:
            yield (*key, run["status"], run["what"], run.get("least_limit") or run.get("madvise_calls"))
            continue
        if run["status"] != "ok":
            yield (*key, run["status"], run["error"], "")
        for figure, value in run["figures"].items():
            yield (*key, run["status"], figure, "" if value is None else value)
        for benchmark, times in (run["benchmarks"] or {}).items():
            yield (*key, run["status"], benchmark + " cpu_ns", times["cpu_ns"])


def sample_rows(result):
    for run in result["runs"]:
        if run["what"] != RUN:
            continue
        names = [name for _, name, _ in run["phases"]]
        for row in zip(*(run["samples"][column] for column in COLUMNS)):
            phase = row[COLUMNS.index("phase")]
            yield (run["workload"], run["allocator"], run["repeat"], names[phase] if phase >= 0 else "", *row)
