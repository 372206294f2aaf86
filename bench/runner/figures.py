"""The figures of a run, and over the runs of a workload under an allocator.

L is what the workload has asked for and not freed, R what is resident beyond the `start` phase: anonymous and shared
memory and swap, as Pss; pages under MADV_FREE are resident. Sizes are megabytes of 10^6 bytes. A figure that a workload
has no data for is not there.
"""

from typing import NamedTuple

from .statistic import integral, median, percentile, theil_sen, value_at

MB = 1e6
LEAST_CYCLES = 5  # for a drift
IDLE_SECONDS = (1, 10, 60)


class Figure(NamedTuple):
    key: str
    title: str
    unit: str
    group: str
    meaning: str
    more_is_better: bool = False
    decimals: int = 2


FIGURES = (
    Figure("mean_mb", "mean R", "MB", "memory", "resident memory over the whole run, weighted by time", decimals=1),
    Figure("peak_mb", "peak R", "MB", "memory", "highest resident memory", decimals=1),
    Figure("peak_ratio", "peak R / peak L", "×", "memory", "highest resident over highest live memory"),
    Figure("overhead", "overhead", "×", "memory", "∫(R−L)dt / ∫L dt: resident memory beyond what is live"),
    Figure("trough_p50", "trough p50", "×", "memory", "median of R/L in the low-traffic windows, weighted by time"),
    Figure("trough_p99", "trough p99", "×", "memory", "99th percentile of R/L in the low-traffic windows"),
    Figure(
        "idle_1s_mb",
        "idle 1 s",
        "MB",
        "return",
        "R−L one second after the last allocator call; R of real programs, which do not tell L",
        decimals=1,
    ),
    Figure("idle_10s_mb", "idle 10 s", "MB", "return", "R−L ten seconds after the last allocator call", decimals=1),
    Figure("idle_60s_mb", "idle 60 s", "MB", "return", "R−L sixty seconds after the last allocator call", decimals=1),
    Figure(
        "giveback_s",
        "90 % back",
        "s",
        "return",
        "from the last allocator call until 90 % of what the peak had "
        "beyond the live memory has gone back; 0: already gone by then",
        decimals=1,
    ),
    Figure(
        "drift",
        "drift",
        "KB/cycle",
        "drift",
        "Theil–Sen slope of each cycle's least R−L, after warm-up; counted "
        "as a climb only where its 95 % interval lies above 0 and it is a page or more",
        decimals=1,
    ),
    Figure("cpu_s", "CPU", "s", "cost", "CPU time, user and system"),
    Figure("cpu_us_per_1000", "CPU / 1,000 calls", "µs", "cost", "CPU time a thousand allocator calls", decimals=1),
    Figure("faults_per_1000", "faults / 1,000 calls", "", "cost", "page faults a thousand allocator calls"),
    Figure(
        "madvise_per_1000",
        "madvise / 1,000 calls",
        "",
        "cost",
        "madvise calls a thousand allocator calls, counted " "in a run of its own",
    ),
    Figure("p999_ns", "malloc p99.9", "ns", "cost", "99.9th percentile of malloc's duration", decimals=0),
    Figure("throughput", "throughput", "/s", "cost", "requests a second at full load", True, 0),
    Figure("p99_ms", "p99", "ms", "cost", "99th percentile of the requests' durations"),
    Figure("least_limit_mb", "least limit", "MB", "limit", "least memory limit under which it completes", decimals=1),
    Figure("placement", "placement F/L", "×", "placement", "page floor over live bytes: how well it places"),
    Figure("retention", "return R/F", "×", "placement", "resident over page floor: how well it returns"),
)
BY_KEY = {figure.key: figure for figure in FIGURES}
# The last two need no figure of the workload's own, so every workload can be judged by them.
MEMORY, COST = "mean_mb", "cpu_s"


class Curves:
    """A run's samples from the end of its start on, without those of its stop: seconds, R and L in bytes."""

    def __init__(self, run):
        samples, phases = run["samples"], run["phases"]
        self.phases = phases
        names = [name for _, name, _ in phases]
        in_start = [at for at, phase in enumerate(samples["phase"]) if phase >= 0 and names[phase] == "start"]
        first = in_start[-1] if in_start else 0
        self.base = samples["resident"][first] if samples["resident"] else 0
        end = next(
            (at for at, phase in enumerate(samples["phase"]) if at > first and phase >= 0 and names[phase] == "stop"),
            None,
        )
        self.t = samples["t"][first:end]
        self.r = [max(0, value - self.base) for value in samples["resident"][first:end]]
        self.l = samples["live"][first:end]
        self.phase = samples["phase"][first:end]
        self.beyond = [r - l for r, l in zip(self.r, self.l)]

    def phase_name(self, at):
        return self.phases[self.phase[at]][1] if self.phase[at] >= 0 else ""

    def silence(self):
        """When the last silent phase began, None without one. Several in a row are one: silent-10, silent-60."""
        begin = None
        for seconds, name, _ in reversed(self.phases):
            if name.startswith("silent"):
                begin = seconds
            elif begin is not None:
                break
        return begin


def memory_figures(curves):
    peak = max(curves.r)
    span = curves.t[-1] - curves.t[0]
    found = {"peak_mb": peak / MB}
    if span > 0:
        found["mean_mb"] = integral(curves.t, curves.r) / span / MB
    live = integral(curves.t, curves.l)
    if live > 0:
        found["peak_ratio"] = peak / max(curves.l)
        found["overhead"] = integral(curves.t, curves.beyond) / live
    ratios = [  # each holds until the next sample; they are denser where memory is on its way
        (r / l, after - t)
        for at, (r, l, t, after) in enumerate(zip(curves.r, curves.l, curves.t, curves.t[1:]))
        if l > 0 and curves.phase_name(at).startswith("low")
    ]
    if ratios:
        found["trough_p50"], found["trough_p99"] = percentile(ratios, 0.5), percentile(ratios, 0.99)
    return found


def return_figures(curves, last_call):
    begin = curves.silence()
    if begin is None:
        return {}
    # The workload's own word is exact, ours comes up to a look later.
    if last_call is not None and abs(last_call - begin) < 2:
        begin = last_call
    found = {}
    for seconds in IDLE_SECONDS:
        # The last moment of a silence of just so many seconds may lie behind the last sample.
        value = value_at(curves.t, curves.beyond, min(begin + seconds, max(curves.t[-1], begin + seconds - 0.25)))
        if value is not None:
            found[f"idle_{seconds}s_mb"] = value / MB
    if not any(curves.l):  # a real program does not tell: what it holds is not to be told from what is kept
        return found
    quiet = [(t, r - l, l) for t, r, l in zip(curves.t, curves.r, curves.l) if t >= begin]
    if quiet:
        goal = (max(curves.r) - quiet[0][2]) / 10
        reached = next((t for t, beyond, _ in quiet if beyond <= goal), None)
        found["giveback_s"] = None if reached is None else max(0.0, reached - quiet[0][0])
        found["watched_s"] = curves.t[-1] - begin
    return found


def cycle_minima(curves):
    """[(number, least R−L)] of each cycle; its low-traffic windows belong to it."""
    minima, cycle, before = {}, None, 0
    cycle_of = []
    for _, name, number in curves.phases:
        if name.startswith("cycle-") and name[6:].isdigit():
            cycle = int(name[6:])
        elif not name.startswith("low"):
            cycle = None
        elif cycle is not None and number > before + 1:  # a cycle whose busy part was too short to be seen
            cycle += 1
        cycle_of.append(cycle)
        before = number
    for phase, beyond in zip(curves.phase, curves.beyond):
        cycle = cycle_of[phase] if phase >= 0 else None
        if cycle is not None:
            minima[cycle] = min(beyond, minima.get(cycle, beyond))
    return sorted(minima.items())


def drift_figures(curves):
    minima = cycle_minima(curves)
    settled = minima[max(1, len(minima) // 4) :]  # the first quarter warms up
    if len(settled) < LEAST_CYCLES:
        return {}
    slope, low, high = (value / 1e3 for value in theil_sen(settled))
    return {"drift": slope, "drift_low": low, "drift_high": high}


def cost_figures(run, curves):
    samples = run["samples"]
    cpu, faults = run["cpu_seconds"], run["faults"]
    if run["of_server"]:  # what the load generator uses is nobody's cost
        cpu, faults = (samples[name][-1] - samples[name][0] for name in ("cpu", "faults"))
    found = {"cpu_s": cpu, "faults": faults}
    thousands = run["final"]["operations"] / 1000
    if thousands >= 1:
        found["cpu_us_per_1000"] = cpu * 1e6 / thousands
        found["faults_per_1000"] = faults / thousands
        if run.get("madvise_calls") is not None:
            found["madvise_per_1000"] = run["madvise_calls"] / thousands
    if run["final"]["p999_ns"]:
        found["p999_ns"] = run["final"]["p999_ns"]
    for key in ("throughput", "p99_ms"):
        value = (run["output"] or {}).get(key)
        if isinstance(value, (int, float)):
            found[key] = value
    return found


def placement_figures(run, curves):
    floor, live = run["final"]["floor_bytes"], run["final"]["floor_live"]
    if not floor or not live:
        return {}
    return {"placement": floor / live, "retention": curves.r[-1] / floor}


def of_run(run, kind):
    if kind == "micro" or not run["samples"]["t"]:
        return {}
    curves = Curves(run)
    return {
        **memory_figures(curves),
        **return_figures(curves, run["last_call"]),
        **drift_figures(curves),
        **cost_figures(run, curves),
        **placement_figures(run, curves),
    }


def over_runs(runs):
    """{key: {"median", "low", "high", "runs"}} over the figures of several runs."""
    summary = {}
    for figure in FIGURES:
        found = [each["figures"] for each in runs if figure.key in each["figures"]]
        if not found:
            continue
        # Not given back in the time watched is later than any time.
        values = [float("inf") if each[figure.key] is None else each[figure.key] for each in found]
        entry = {"median": median(values), "low": min(values), "high": max(values), "runs": len(values)}
        if figure.key == "giveback_s":
            entry["watched_s"] = median([each["watched_s"] for each in found])
        if figure.key == "drift":
            entry["interval"] = [median([each[key] for each in found]) for key in ("drift_low", "drift_high")]
        summary[figure.key] = {key: None if value == float("inf") else value for key, value in entry.items()}
    return summary
