"""The text of report.html."""

import json
import math
from html import escape

from .figures import BY_KEY, FIGURES
from .execute import OK
from .plan import RUN
from .svg import css_name
from .text import number, plain, spread
from .verdicts import CPU_ALLOWANCE, OURS, contests, overall

WORLDS = {
    "A1": "Web service with an API client",
    "A2": "ASGI service with an ORM",
    "A3": "Small memory limit",
    "A4": "Sessions and data frames",
    "A5": "TCP server, connection objects",
    "A6": "Long connections, asyncio",
    "A7": "The usual servers",
    "B": "Synthetic shapes",
}
SHADES = ((1.1, 0), (1.3, 1), (1.7, 2), (2.5, 3), (4, 4), (float("inf"), 5))


def shade(ratio):
    return next(level for limit, level in SHADES if ratio <= limit)


def embedded(value):
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def chip(name):
    return f'<span class="chip {css_name(name)}"><i></i>{escape(name)}</span>'


def plural(count, noun):
    return f"{count} {noun}" + ("" if count == 1 else "s")


def times(value):
    return f"{value:.2f}×" if value < 10 else f"{value:.0f}×"


def in_short(whole, parts):
    scores, count = overall(whole["summary"])
    if not scores:
        return ""
    by_memory = sorted(scores, key=lambda name: scores[name][0])
    by_cpu = sorted(scores, key=lambda name: scores[name][1])
    picks = {}
    for found in parts["cells"].values():
        for name, cell in found.items():
            if cell.is_taken:
                picks[name] = picks.get(name, 0) + 1
    chosen = "".join(
        f"<span>{chip(name)} {number_} of {len(parts['cells'])}</span>"
        for name, number_ in sorted(picks.items(), key=lambda each: -each[1])
    )
    wins, losses, draws = contests(whole["summary"])
    ours = ""
    if wins or losses or draws:
        ours = (
            f"<div><dt>{OURS} against the best other</dt><dd><span class='win'>▲ {len(wins)} better</span> "
            f"<span class='loss'>▼ {len(losses)} worse</span> <span class='even'>{len(draws)} even</span></dd>"
            "<p>in every figure of every workload, the best other being another one each time</p></div>"
        )

    def ranked(names, at):
        return "".join(f"<li>{chip(name)}<b>{times(scores[name][at])}</b></li>" for name in names)

    return (
        f"<dl class='short'><div><dt>Taken most often</dt><dd>{chosen}</dd>"
        f"<p>least memory among those within {CPU_ALLOWANCE - 1:.0%} of the least CPU time</p></div>{ours}"
        f"<div><dt>Memory</dt><ol>{ranked(by_memory, 0)}</ol></div><div><dt>CPU time</dt><ol>{ranked(by_cpu, 1)}</ol>"
        "</div></dl>"
        f"<p class='note'>Memory and CPU: times the least of each workload, geometric mean of {plural(count, 'workload')}. "
        "1.00× would be the least everywhere.</p>"
    )


def take(found):
    taken = [name for name, cell in found.items() if cell.is_taken]
    good = [name for name, cell in found.items() if cell.is_as_good and not cell.is_taken]
    text = "".join(chip(name) for name in taken) or "none"
    return text + (f"<small>as good: {escape(', '.join(good))}</small>" if good else "")


def matrix(whole, parts, names):
    head = "".join(f"<th>{chip(name)}</th>" for name in names)
    rows, world_before = [], None
    workloads = [workload for workload in whole["workloads"] if workload["name"] in parts["cells"]]
    for workload in sorted(workloads, key=lambda each: each["world"] or "~"):
        found = parts["cells"][workload["name"]]
        world = WORLDS.get(
            workload["world"][:2] if workload["world"].startswith("A") else workload["world"][:1], workload["world"]
        )
        if world != world_before:
            label = f"{escape(workload['world'])} · {escape(world)}" if world != workload["world"] else escape(world)
            rows.append(f"<tr class='world'><th colspan='{len(names) + 2}'><span>{label}</span></th></tr>")
            world_before = world
        cells = []
        for name in names:
            cell = found.get(name)
            if not cell:
                cells.append("<td class='none'>–</td>")
                continue
            climbs = any(flag.startswith("climbs") for flag in cell.flags)
            mark = " taken" if cell.is_taken else ""
            cpu = f"<small>CPU {times(cell.cpu)}</small>" if cell.cpu else ""
            cells.append(
                f"<td class='m{shade(cell.memory)}{mark}'><b>{times(cell.memory)}</b>{cpu}"
                f"{'<em>climbs</em>' if climbs else ''}</td>"
            )
        rows.append(
            f"<tr><th><a href='#{escape(workload['name'])}'>{escape(workload['name'])}</a>"
            f"<small>{escape(workload['summary'])}</small></th><td class='take'>{take(found)}</td>{''.join(cells)}</tr>"
        )
    return (
        "<p class='note'>Large: mean resident memory, times the least of the row; the stronger the colour, the "
        "more. Small: CPU time, times the "
        f"least. Framed: the one to take, least memory among those within {CPU_ALLOWANCE - 1:.0%} of the least CPU "
        "time, as far as the spread of the runs can tell. "
        "<em class='climbs'>climbs</em>: memory rises from cycle to cycle though the work does not.</p>"
        f"<div class='scroll'><table class='matrix'><thead><tr><th>Workload</th><th>Take</th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def contest_rows(contested):
    out = []
    for each in contested:
        figure = BY_KEY[each.figure]
        unit = f" {figure.unit}" if figure.unit not in ("", "×") else figure.unit
        ratio = times(each.ratio) if each.ratio else ""
        out.append(
            f"<tr><td><a href='#{escape(each.workload)}'>{escape(each.workload)}</a></td><td>"
            f"{escape(figure.title)}</td>"
            f"<td>{number(figure, each.ours)}{unit}</td><td>{number(figure, each.theirs)}{unit} <small>"
            f"{escape(each.rival)}</small></td>"
            f"<td>{ratio}</td></tr>"
        )
    return "".join(out)


def ours_section(whole):
    wins, losses, draws = contests(whole["summary"])
    if not wins and not losses and not draws:
        return ""
    blocks = []
    for css, mark, title, contested in (("loss", "▼", "worse", losses), ("win", "▲", "better", wins)):
        head = f"<tr><th>Workload</th><th>Figure</th><th>{OURS}</th><th>best other</th><th>ratio</th></tr>"
        shown, rest = contested[:8], contested[8:]
        more = (
            f"<details><summary>{len(rest)} more</summary><div class='scroll'><table class='plain'>"
            f"{head}{contest_rows(rest)}</table></div></details>"
            if rest
            else ""
        )
        body = (
            f"<div class='scroll'><table class='plain'>{head}{contest_rows(shown)}</table></div>{more}"
            if contested
            else "<p class='note'>none</p>"
        )
        blocks.append(
            f"<div class='half'><h3><span class='{css}'>{mark} {len(contested)} {title}</span></h3>{body}</div>"
        )
    return (
        f"<section><h2 id='ours'>Where {OURS} loses, and where it wins</h2><p class='lead'>Each figure of each "
        "workload against the best "
        f"of the others, widest margins first. {len(draws)} more are even: closer than the runs are among "
        "themselves.</p>"
        f"<div class='halves'>{''.join(blocks)}</div></section>"
    )


def figure_table(rows, cells):
    keys = [figure.key for figure in FIGURES if any(figure.key in figures for figures in rows.values())]
    judged = {}
    for mark, contested in zip(("win", "loss"), contests({"": rows})):
        judged.update({each.figure: mark for each in contested})
    head = "".join(
        f"<th title='{escape(BY_KEY[key].meaning)}'>{escape(BY_KEY[key].title)}"
        f"<small>{escape(BY_KEY[key].unit)}</small></th>"
        for key in keys
    )
    body = []
    for name, figures in rows.items():
        columns = []
        for key in keys:
            figure, entry = BY_KEY[key], figures.get(key)
            extent = spread(figure, entry)
            if key == "drift" and entry:
                extent = f"{plain(entry['interval'][0], 1)} to {plain(entry['interval'][1], 1)}"
            css = judged.get(key, "") if name == OURS else ""
            mark = {"win": "▲ ", "loss": "▼ "}.get(css, "")
            columns.append(
                f"<td class='{css}'>{mark}{number(figure, entry)}"
                + (f"<small>{extent}</small>" if extent else "")
                + "</td>"
            )
        flags = "; ".join(cells[name].flags) if name in cells else ""
        body.append(
            f"<tr{' class=ours' if name == OURS else ''}><th>{chip(name)}</th><td class='flags'>{escape(flags)}</td>"
            f"{''.join(columns)}</tr>"
        )
    return (
        f"<div class='scroll'><table class='figures'><thead><tr><th></th><th></th>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def across(count):
    """How many panels stand side by side where there is room: up to five, in even rows."""
    return math.ceil(count / math.ceil(count / 5)) if count else 1


def workload_section(workload, whole, parts):
    name = workload["name"]
    panels = parts["panels"].get(name, [])
    zoom = ""
    if name in parts["zoom"]:
        zoom = (
            f"<details class='zoom' data-workload='{escape(name)}'><summary>All in one chart, to zoom and read "
            "values</summary>"
            "<div class='legend'></div><div class='chart'></div><p class='note'>Drag to zoom, double click for "
            "all.</p></details>"
        )
    world = f"<span class='tag'>{escape(workload['world'])}</span>" if workload["world"] else ""
    return (
        f"<article id='{escape(name)}'><h3>{escape(name)} {world}</h3><p class='lead'>{escape(workload['summary'])}</p>"
        f"<div class='panels' style='--n:{across(len(panels))}'>{''.join(panels)}</div>"
        f"{zoom}{figure_table(whole['summary'][name], parts['cells'][name])}</article>"
    )


def memory_section(whole, parts):
    articles = [workload_section(w, whole, parts) for w in whole["workloads"] if w["name"] in whole["summary"]]
    return (
        "<section><h2 id='memory'>Memory over time</h2><p class='lead'>Resident memory beyond the start in MB over "
        "seconds; the same axes in "
        "all panels of a workload. Thick line: the run in the middle; thin: the other runs. Dashed: the bytes that "
        "the program itself "
        "holds, where it tells; nobody can stay below. Grey: no allocator call, an idle server.</p>"
        "<p class='note'>In the tables: medians, with the lowest and highest run below (of the drift its 95 % "
        "interval). "
        f"<span class='win'>▲</span> {OURS} better than all others, <span class='loss'>▼</span> worse than the best "
        "other. Point at a heading for its meaning, "
        f"or see <a href='#meaning'>below</a>.</p>{''.join(articles)}</section>"
    )


def cost_section(parts):
    if not parts["scatter"]:
        return ""
    each = "".join(parts["scatters"].values()) if len(parts["scatters"]) > 1 else ""
    more = f"<details><summary>Each workload</summary><div class='scatters'>{each}</div></details>" if each else ""
    return (
        "<section><h2 id='cost'>What it costs</h2><p class='lead'>CPU time against mean resident memory, both as "
        "ratios to "
        f"{escape(parts['reference'])}. Further left is faster, further down is smaller. Bars: over all workloads, "
        "the middle half of "
        f"them; for one workload, its lowest and highest run.</p>{parts['scatter']}{more}</section>"
    )


def micro_section(whole, names):
    if not whole["micro"]:
        return ""
    head = "".join(f"<th>{chip(name)}</th>" for name in names)
    body = []
    for benchmark, found in whole["micro"].items():
        # The loop alone, and what one alone can do, are nobody's win or loss.
        is_contest = len(found) > 1 and not benchmark.startswith("overhead/")
        least = min(found.values())
        cells = []
        for name in names:
            value = found.get(name)
            if value is None:
                cells.append("<td class='none'>–</td>")
            elif is_contest:
                ratio = value / least
                cells.append(f"<td class='m{shade(ratio)}'>{plain(value, 1)}<small>{times(ratio)}</small></td>")
            else:
                cells.append(f"<td>{plain(value, 1)}</td>")
        body.append(f"<tr><th>{escape(benchmark)}</th>{''.join(cells)}</tr>")
    return (
        "<section><h2 id='micro'>Micro benchmarks</h2><p class='lead'>Nanoseconds of CPU time a round, below it "
        "times the least of the row. overhead/…: the loop without a call, part of the row of that name.</p>"
        f"<div class='scroll'><table class='matrix micro'><thead><tr><th></th>{head}</tr></thead><tbody>"
        f"{''.join(body)}</tbody></table></div></section>"
    )


def failures_section(whole):
    seen = dict.fromkeys(
        (run["workload"], "" if run["status"] == "cannot" else run["allocator"], run["status"], run["error"])
        for run in whole["runs"]
        if run["status"] != OK
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in whole["notes"])
    rows = "".join(
        f"<tr><td>{escape(w)}</td><td>{escape(a)}</td><td>{escape(s)}</td><td>{escape(str(e))}</td></tr>"
        for w, a, s, e in seen
    )
    if not rows and not notes:
        return ""
    table = (
        "<div class='scroll'><table class='plain'><tr><th>Workload</th><th>Allocator</th><th></th><th>Why</th></tr>"
        f"{rows}</table></div>"
        if rows
        else ""
    )
    return f"<section><h2 id='missing'>Not measured</h2><ul class='notes'>{notes}</ul>{table}</section>"


def about_section(whole):
    environment, options = whole["environment"], whole["options"]
    measured = [run for run in whole["runs"] if run["what"] == RUN and run.get("sampler_cpu_share") is not None]
    sampler = f"{max(run['sampler_cpu_share'] for run in measured):.1%} of a CPU at most" if measured else "–"
    facts = (
        ("Measured", environment["date"]),
        ("Command", options["command"]),
        ("System", f"{environment['system']}, Linux {environment['kernel']}, {environment['libc']}"),
        ("CPU", f"{environment['cpu']}, {environment['cpus']} CPUs, governor {environment['governor']}"),
        (
            "Memory",
            f"{environment['memory_mb']:,} MB, swap {environment['swap_mb']:,} MB, pages of "
            f"{environment['page_size']} bytes, "
            f"transparent huge pages: {environment['huge_pages']}, overcommit {environment['overcommit']}",
        ),
        ("Sampler", f"every {options['interval']:g} ms; cost {sampler}"),
    )
    rows = "".join(f"<tr><th>{key}</th><td>{escape(str(value))}</td></tr>" for key, value in facts)
    allocators = "".join(
        f"<tr><th>{chip(each['name'])}</th><td>{escape(each['library'] or 'the system’s')}<small>"
        f"{escape(each.get('package') or '')} "
        f"{escape(' '.join(f'{k}={v}' for k, v in each['env'].items()))} "
        f"{escape((each['sha256'] or '')[:12])}</small></td></tr>"
        for each in whole["allocators"]
    )
    meanings = "".join(
        f"<tr><th>{escape(figure.title)}</th><td>"
        f"{escape(figure.meaning)}{', in ' + figure.unit if figure.unit not in ('', '×') else ''}</td></tr>"
        for figure in FIGURES
    )
    return (
        f"<section><h2 id='about'>How it was measured</h2><table class='facts'>{rows}</table><h3>Allocators</h3>"
        f"<table class='facts'>{allocators}</table>"
        "<h3 id='meaning'>What the figures mean</h3><p>L: bytes that the program has asked for and not freed. R: "
        "anonymous and shared memory and swap "
        "of its processes, as proportional set size, beyond what it had before its work; pages under MADV_FREE "
        "count as resident, "
        f"mapped files do not count. 1 MB is 10<sup>6</sup> bytes.</p><table class='facts'>{meanings}</table></section>"
    )


def page(whole, parts):
    names = [allocator["name"] for allocator in whole["allocators"]]
    environment = whole["environment"]
    measured = [run for run in whole["runs"] if run["what"] == RUN and run["status"] == OK]
    once = (
        "" if any(run["repeat"] > 1 for run in measured) else " One run of each: differences below 10 % mean nothing."
    )
    library_style = f"<style>{parts['library'][1]}</style>" if parts["library"] else ""
    scripts = ""
    if parts["library"]:
        scripts = (
            f"<script type='application/json' id='data'>{embedded(parts['zoom'])}</script>"
            f"<script>{parts['library'][0]}</script><script>{parts['script']}</script>"
        )
    links = (
        ("answer", "Which one"),
        ("ours", "Wins and losses"),
        ("memory", "Memory over time"),
        ("cost", "Cost"),
        ("micro", "Micro"),
        ("about", "Method"),
    )
    body = "".join(
        (
            "<section><h2 id='answer'>Which allocator for which workload</h2>"
            f"{in_short(whole, parts)}{matrix(whole, parts, names)}</section>",
            ours_section(whole),
            memory_section(whole, parts),
            cost_section(parts),
            micro_section(whole, names),
            failures_section(whole),
            about_section(whole),
        )
    )
    navigation = "".join(f"<a href='#{key}'>{title}</a>" for key, title in links if f"id='{key}'" in body)
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
        "content='width=device-width,initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'><title>neap bench: allocators compared</title>"
        f"{library_style}<style>{parts['style']}</style></head><body>"
        f"<header><h1>Allocators compared</h1><p>{plural(len(whole['summary']), 'workload')} under "
        f"{plural(len(names), 'allocator')}, {plural(len(measured), 'run')}, {escape(environment['date'])}, "
        f"{escape(environment['cpu'])}, Linux {escape(environment['kernel'])}.{once}</p><nav>{navigation}</nav></header>"
        f"<main>{body}</main>{scripts}</body></html>\n"
    )
