"""What the figures say: which allocator for which workload, what neap wins and loses, who climbs, keeps or is slow."""

from typing import NamedTuple

from .compare import differs, judged
from .figures import BY_KEY, COST, MEMORY
from .statistic import geometric_mean

OURS = "neap"
CPU_ALLOWANCE = 1.15  # of the least CPU time, for an allocator that is to be taken
NOISE_OF_ONE = 0.05  # of a CPU time that was measured once, in either direction
FLOOR = {MEMORY: 1.0, COST: 0.05}  # MB and seconds below which nobody is told from another
SLOW = 1.5  # times the least CPU time
LEAST_CLIMB = 4.1  # KB a cycle: less than a page is the noise of samples
CONTESTED = (
    "mean_mb",
    "peak_mb",
    "trough_p50",
    "idle_1s_mb",
    "idle_10s_mb",
    "idle_60s_mb",
    "giveback_s",
    "drift",
    "cpu_s",
    "faults_per_1000",
    "madvise_per_1000",
    "p999_ns",
    "throughput",
    "p99_ms",
    "least_limit_mb",
    "placement",
)
FLOORS = {
    "mean_mb": 1,
    "peak_mb": 1,
    "idle_1s_mb": 1,
    "idle_10s_mb": 1,
    "idle_60s_mb": 1,
    "giveback_s": 0.2,
    "cpu_s": 0.02,
    "faults_per_1000": 0.01,
    "madvise_per_1000": 0.01,
    "p999_ns": 50,
}


class Cell(NamedTuple):
    memory: float  # mean R over the least of all allocators
    cpu: float
    is_taken: bool
    is_as_good: bool  # as the taken one: within the spread of the runs
    flags: list


def ratios(rows, key):
    """Each allocator's figure over the least of all."""
    values = {name: max(FLOOR[key], figures[key]["median"]) for name, figures in rows.items() if key in figures}
    least = min(values.values(), default=1)
    return {name: value / least for name, value in values.items()}


def is_climb(drift):
    return drift["interval"][0] > 0 and drift["median"] >= LEAST_CLIMB


def flags_of(figures, cpu_ratio):
    """What somebody who runs a server has to know, as short sentences."""
    found = []
    drift = figures.get("drift")
    if drift and is_climb(drift):
        found.append(f"climbs {drift['median']:,.0f} KB a cycle")
    back = figures.get("giveback_s")
    if back and back["median"] is None:
        kept = [figures[key]["median"] for key in ("idle_1s_mb", "idle_10s_mb", "idle_60s_mb") if key in figures]
        if kept and kept[-1] >= 1:
            found.append(f"keeps {kept[-1]:,.0f} MB when idle")
    if cpu_ratio is not None and cpu_ratio >= SLOW:
        found.append(f"slow: {cpu_ratio:.1f}× CPU")
    return found


def cost_range(figures):
    """The lowest and the highest CPU time that the runs leave possible."""
    entry = figures[COST]
    slack = NOISE_OF_ONE if entry["runs"] == 1 else 0
    return max(FLOOR[COST], entry["low"] * (1 - slack)), max(FLOOR[COST], entry["high"] * (1 + slack))


def cells(rows):
    """{allocator: Cell} of a workload: taken is who needs least memory among those that cost little more CPU than the
    cheapest."""
    memory, cpu = ratios(rows, MEMORY), ratios(rows, COST)
    cheapest = min(cpu, key=lambda name: rows[name][COST]["median"], default=None)
    dearest = CPU_ALLOWANCE * cost_range(rows[cheapest])[1] if cheapest else 0
    allowed = [name for name in memory if name not in cpu or cost_range(rows[name])[0] <= dearest]
    taken = min(allowed, key=lambda name: (memory[name], cpu.get(name, 1)), default=None)

    def as_good(name):
        return name in allowed and (
            memory[name] == memory[taken] or not differs(rows[taken][MEMORY], rows[name][MEMORY])
        )

    return {
        name: Cell(memory[name], cpu.get(name), name == taken, as_good(name), flags_of(rows[name], cpu.get(name)))
        for name in memory
    }


def overall(summary):
    """{allocator: (memory, cpu)}: geometric means of the ratios, over the workloads that all have finished."""
    names = list(dict.fromkeys(name for rows in summary.values() for name in rows))
    common = [rows for rows in summary.values() if all(MEMORY in rows.get(n, {}) and COST in rows[n] for n in names)]
    if not common:
        return {}, 0
    tables = [(ratios(rows, MEMORY), ratios(rows, COST)) for rows in common]
    return {
        name: (geometric_mean([m[name] for m, _ in tables]), geometric_mean([c[name] for _, c in tables]))
        for name in names
    }, len(common)


class Contest(NamedTuple):
    workload: str
    figure: str
    ours: dict
    rival: str
    theirs: dict
    ratio: float  # ours over theirs, above 1 for worse whatever the figure; None where there is none


def magnitude(entry, key):
    if entry["median"] is None:
        return float("inf")
    if key == "drift" and not is_climb(entry):
        return 0
    return max(FLOORS.get(key, 0), entry["median"])


def contests(summary):
    """(wins, losses, draws) of neap against the best other allocator in each figure, the widest margins first."""
    wins, losses, draws = [], [], []
    for workload, rows in summary.items():
        if OURS not in rows:
            continue
        for key in CONTESTED:
            rivals = {name: figures[key] for name, figures in rows.items() if name != OURS and key in figures}
            ours = rows[OURS].get(key)
            if ours is None or not rivals:
                continue
            figure = BY_KEY[key]
            sign = -1 if figure.more_is_better else 1
            best = min(rivals, key=lambda name: sign * magnitude(rivals[name], key))
            a, b = magnitude(ours, key), magnitude(rivals[best], key)
            ratio = None if float("inf") in (a, b) or not a or not b else (a / b) ** sign
            contest = Contest(workload, key, ours, best, rivals[best], ratio)
            judgement = "" if a == b else judged(figure, rivals[best], ours)
            {"better": wins, "worse": losses, "": draws}[judgement].append(contest)
    wins.sort(key=lambda each: each.ratio or 0)
    losses.sort(key=lambda each: -(each.ratio or float("inf")))
    return wins, losses, draws
