"""Google Benchmark's programs: their options and their JSON."""

import json
import re
import statistics

from .errors import BenchError

MIN_SECONDS = {"quick": 0.02, "standard": 0.1, "full": 0.5}
NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def micro_arguments(name, profile):
    return ["--run", name, "--benchmark_format=json", f"--benchmark_min_time={MIN_SECONDS[profile]}"]


def parse_micro(text):
    """Nanoseconds of CPU and of real time an iteration, by the benchmark's name. Repetitions give their median."""
    try:
        rows = json.loads(text)["benchmarks"]
        found = {}
        for row in rows:
            if row.get("run_type", "iteration") == "iteration" and not row.get("error_occurred"):
                factor = NANOSECONDS[row["time_unit"]]
                name = re.sub(r"/min_time:[0-9.]+|/real_time|/process_time", "", row["name"])
                found.setdefault(name, []).append((factor * row["cpu_time"], factor * row["real_time"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"the micro benchmarks printed no JSON of Google Benchmark: {error}") from error
    return {
        name: {"cpu_ns": statistics.median(cpu for cpu, _ in times), "real_ns": statistics.median(r for _, r in times)}
        for name, times in found.items()
    }
