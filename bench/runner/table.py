"""The table in the terminal."""

from .execute import OK
from .figures import BY_KEY
from .plan import RUN
from .text import columns, number, plain
from .verdicts import CPU_ALLOWANCE, OURS, cells, contests, overall

SHOWN = (
    "mean_mb",
    "peak_mb",
    "overhead",
    "trough_p50",
    "idle_1s_mb",
    "idle_10s_mb",
    "idle_60s_mb",
    "giveback_s",
    "drift",
    "cpu_s",
    "faults_per_1000",
    "least_limit_mb",
    "placement",
    "throughput",
)
TAKEN, AS_GOOD = "*", "="


def of_workload(workload, rows):
    keys = [key for key in SHOWN if any(key in figures for figures in rows.values())]
    judged = cells(rows)
    header = [
        "",
        "",
        *(BY_KEY[key].title + (f", {BY_KEY[key].unit}" if BY_KEY[key].unit not in ("", "×") else "") for key in keys),
        "",
    ]
    body = []
    for name, figures in rows.items():
        cell = judged.get(name)
        mark = TAKEN if cell and cell.is_taken else AS_GOOD if cell and cell.is_as_good else ""
        body.append(
            [
                mark,
                name,
                *(number(BY_KEY[key], figures.get(key)) for key in keys),
                ", ".join(cell.flags) if cell else "",
            ]
        )
    # Long titles stand in two lines.
    first, second = zip(*(split_title(title) for title in header))
    world = f" ({workload['world']})" if workload["world"] else ""
    lines = columns([first, second, *body], right=range(2, len(header) - 1))
    return [f"{workload['name']}{world}: {workload['summary']}", *("  " + line for line in lines), ""]


def split_title(title):
    if len(title) <= 8:
        return "", title
    middle = min((at for at, c in enumerate(title) if c == " "), key=lambda at: abs(at - len(title) / 2), default=None)
    return ("", title) if middle is None else (title[:middle], title[middle + 1 :])


def of_micro(micro, names):
    rows = [("ns of CPU a round", *names)]
    for benchmark, times in micro.items():
        rows.append((benchmark, *(plain(times.get(name), 1) for name in names)))
    return ["micro benchmarks", *("  " + line for line in columns(rows, right=range(1, len(rows[0])))), ""]


def of_all(summary, spread_known):
    scores, count = overall(summary)
    if not scores:
        return []
    rows = [("", "memory", "CPU", "taken for")]
    for name, (memory, cpu) in sorted(scores.items(), key=lambda each: each[1]):
        taken = [
            workload for workload, found in summary.items() if cells(found).get(name) and cells(found)[name].is_taken
        ]
        rows.append((name, f"{memory:.2f}×", f"{cpu:.2f}×", ", ".join(taken)))
    note = "" if spread_known else "; one run of each: differences below 10 % mean nothing"
    return [
        f"all together: times the least of each workload, geometric mean of {count}{note}",
        *("  " + line for line in columns(rows, right=(1, 2))),
        "",
    ]


def of_ours(summary):
    wins, losses, draws = contests(summary)
    if not wins and not losses and not draws:
        return []
    lines = [
        f"{OURS} against the best other in each figure: {len(wins)} better, {len(losses)} worse, {len(draws)} even"
    ]
    for title, contested in (("worse", losses[:5]), ("better", wins[:5])):
        for each in contested:
            figure = BY_KEY[each.figure]
            unit = f" {figure.unit}" if figure.unit not in ("", "×") else ""
            lines.append(
                f"  {title}: {each.workload}, {figure.title}: {number(figure, each.ours)}{unit}; "
                f"{each.rival} {number(figure, each.theirs)}{unit}"
            )
    return [*lines, ""]


def of_failures(runs):
    seen = dict.fromkeys(
        (run["workload"], "" if run["status"] == "cannot" else run["allocator"], run["error"])
        for run in runs
        if run["status"] != OK
    )
    return [f"  {workload}{' under ' + allocator if allocator else ''}: {error}" for workload, allocator, error in seen]


def render(whole):
    summary, lines = whole["summary"], [""]
    by_name = {workload["name"]: workload for workload in whole["workloads"]}
    for workload, rows in summary.items():
        if any(rows.values()):
            lines += of_workload(by_name[workload], rows)
    if whole["micro"]:
        lines += of_micro(whole["micro"], [allocator["name"] for allocator in whole["allocators"]])
    measured = [run for run in whole["runs"] if run["what"] == RUN and run["status"] == OK]
    lines += of_all(summary, any(run["repeat"] > 1 for run in measured))
    lines += of_ours(summary)
    failures = of_failures(whole["runs"])
    if failures:
        lines += ["not measured", *failures, ""]
    lines.append(
        f"{TAKEN} least memory among those within {CPU_ALLOWANCE - 1:.0%} of the least CPU time, {AS_GOOD} as good. "
        "R: resident beyond the start; L: live."
    )
    return "\n".join(lines)
