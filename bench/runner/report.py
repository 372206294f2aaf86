"""report.html, one file that needs no network, and the SVGs for pages elsewhere, all from the results."""

import os

from .errors import BenchError
from .execute import OK
from .figures import COST, MEMORY, Curves
from .plan import RUN
from .report_html import across, page
from .svg import DARK, LIGHT, MB, STYLE, Panel, colour_rules, extent, memory_svg, scatter_svg, spans, standalone
from .statistic import geometric_mean, median
from .text import plain
from .verdicts import FLOOR, cells

HERE = os.path.dirname(os.path.abspath(__file__))
DYGRAPHS = "/usr/share/javascript/dygraphs"
PANEL_WIDTH, PANEL_HEIGHT = 260, 168
GRID_POINTS = 400  # of a curve to zoom into
REFERENCES = ("glibc",)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def library():
    """(script, style) of the chart library; None where it is not installed."""
    try:
        return read(os.path.join(DYGRAPHS, "dygraph.min.js")), read(os.path.join(DYGRAPHS, "dygraph.min.css"))
    except OSError:
        return None


def curves_by_workload(whole):
    """{workload: {allocator: [(run, Curves)]}} of all good runs, in the allocators' order."""
    names = [allocator["name"] for allocator in whole["allocators"]]
    found = {}
    for workload in whole["summary"]:
        rows = {}
        for name in names:
            runs = [
                run
                for run in whole["runs"]
                if run["what"] == RUN
                and run["status"] == OK
                and run["samples"]["t"]
                and (run["workload"], run["allocator"]) == (workload, name)
            ]
            if runs:
                rows[name] = [(run, Curves(run)) for run in runs]
        if rows:
            found[workload] = rows
    return found


def median_run(runs):
    """The curves of the run in the middle."""
    return sorted(runs, key=lambda pair: pair[0]["figures"].get(MEMORY, 0))[(len(runs) - 1) // 2][1]


def panels(rows, summary):
    """An SVG for each allocator, all with the same axes."""
    seconds, top = extent({name: [curves for _, curves in runs] for name, runs in rows.items()})
    drawn = []
    for name, runs in rows.items():
        panel = Panel(0, 0, PANEL_WIDTH, PANEL_HEIGHT, seconds, top)
        mean = summary[name].get(MEMORY)
        note = f"mean {plain(mean['median'], 1 if mean['median'] < 100 else 0)} MB" if mean else ""
        drawn.append(
            memory_svg(name, panel, [curves for _, curves in runs], median_run(runs), note, PANEL_WIDTH, PANEL_HEIGHT)
        )
    return drawn


def to_zoom(rows):
    """The median runs on one grid of seconds: {"labels", "rows"} as the chart library takes them."""
    mains = {name: median_run(runs) for name, runs in rows.items()}
    end = max(curves.t[-1] for curves in mains.values())
    columns = []
    for curves in mains.values():
        columns.append(on_grid(curves.t, curves.r, end))
    first = next(iter(mains.values()))
    labels = ["seconds", *mains]
    if max(first.l, default=0):
        labels.append("live")
        columns.append(on_grid(first.t, first.l, end))
    table = [[round(number * end / GRID_POINTS, 3), *values] for number, values in enumerate(zip(*columns))]
    return {"labels": labels, "rows": table}


def on_grid(times, values, end):
    found, at = [], 0
    for number in range(GRID_POINTS + 1):
        when = number * end / GRID_POINTS
        while at + 1 < len(times) and times[at + 1] <= when:
            at += 1
        found.append(None if when > times[-1] + end / GRID_POINTS or when < times[0] else round(values[at] / MB, 2))
    return found


def ratio_range(figures, base, key):
    """A figure over the reference's, with the runs' range."""
    return tuple(max(FLOOR[key], figures[key][part]) / base for part in ("median", "low", "high"))


def scatter_of(rows, reference):
    bases = {key: max(FLOOR[key], rows[reference][key]["median"]) for key in (MEMORY, COST)}
    return {
        name: (ratio_range(figures, bases[COST], COST), ratio_range(figures, bases[MEMORY], MEMORY))
        for name, figures in rows.items()
        if MEMORY in figures and COST in figures
    }


def scatters(whole):
    """(overall SVG or None, {workload: SVG}), relative to glibc."""
    summary = {
        w: rows
        for w, rows in whole["summary"].items()
        if rows and all(MEMORY in figures and COST in figures for figures in rows.values())
    }
    names = [allocator["name"] for allocator in whole["allocators"]]
    reference = next((name for name in (*REFERENCES, *names) if all(name in rows for rows in summary.values())), None)
    if reference is None or not summary:
        return None, {}, reference
    points = {workload: scatter_of(rows, reference) for workload, rows in summary.items()}
    x, y = f"CPU time, {reference} = 1", f"mean resident memory, {reference} = 1"
    same = spans(points.values())
    each = {workload: scatter_svg(found, same, workload, x, y) for workload, found in points.items()}
    common = [name for name in names if all(name in found for found in points.values())]
    together = {}
    for name in common:
        axes = []
        for axis in (0, 1):
            # The middle is the geometric mean, the bars reach over the middle half of the workloads.
            values = sorted(found[name][axis][0] for found in points.values())
            axes.append(
                (geometric_mean(values), median(values[: (len(values) + 1) // 2]), median(values[len(values) // 2 :]))
            )
        together[name] = tuple((m, min(m, lo), max(m, hi)) for m, lo, hi in axes)
    overall = scatter_svg(together, spans([together]), "All workloads", x, y, 560, 400) if together else None
    return overall, each, reference


def write(store, whole):
    """Writes report.html and the SVGs; answers lines that say where they are."""
    by_workload = curves_by_workload(whole)
    names = [allocator["name"] for allocator in whole["allocators"]]
    drawn = {workload: panels(rows, whole["summary"][workload]) for workload, rows in by_workload.items()}
    overall, each, reference = scatters(whole)
    chart = library()
    parts = {
        "style": read(os.path.join(HERE, "report.css")) + colours(names),
        "script": read(os.path.join(HERE, "report.js")) if chart else "",
        "library": chart,
        "panels": drawn,
        "scatter": overall,
        "scatters": each,
        "reference": reference,
        "cells": {workload: cells(rows) for workload, rows in whole["summary"].items()},
        "zoom": {workload: to_zoom(rows) for workload, rows in by_workload.items()} if chart else {},
    }
    store.write("report.html", page(whole, parts))
    write_svgs(store, names, drawn, overall)
    lines = [f"report: {os.path.abspath(store.path('report.html'))}"]
    if not chart:
        lines.append("without charts to zoom into: Debian's libjs-dygraphs is not installed")
    return lines


def colours(names):
    return (
        f":root{{{LIGHT}}}{colour_rules(names, 0)}"
        f"@media (prefers-color-scheme:dark){{:root{{{DARK}}}{colour_rules(names, 1)}}}{STYLE}"
    )


def write_svgs(store, names, drawn, overall):
    try:
        os.makedirs(store.path("svg"), exist_ok=True)
    except OSError as error:
        raise BenchError(f"{store.path('svg')}: {error.strerror}") from error
    for workload, elements in drawn.items():
        text = standalone(
            elements,
            names,
            across(len(elements)),
            PANEL_WIDTH,
            PANEL_HEIGHT,
            f"{workload}: resident memory, MB",
            "over seconds; same axes; thick: median run, thin: other runs, dashed: live bytes",
        )
        store.write(f"svg/memory-{workload}.svg", text)
    if overall:
        text = standalone(
            [overall],
            names,
            1,
            560,
            400,
            "Memory against CPU time",
            "geometric means over the workloads; bars: the middle half of them",
        )
        store.write("svg/cost.svg", text)
