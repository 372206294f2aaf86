"""Charts as SVG: memory over time in panels with the same axes, and cost against memory. Colours come from the style
that stands around them: classes s-NAME for an allocator's, see STYLE."""

import math
from html import escape

MB = 1e6
COLOURS = (  # light, dark; told apart also by those who see few colours
    ("#0b6fa4", "#4db4ea"),
    ("#c2410c", "#fb923c"),
    ("#7c3aed", "#b794f6"),
    ("#15803d", "#5ec98a"),
    ("#be185d", "#f472b6"),
    ("#a16207", "#e3b341"),
    ("#0f766e", "#4fd1c5"),
    ("#9f1239", "#fb7185"),
    ("#4338ca", "#93a5ff"),
    ("#4d7c0f", "#a3d65c"),
)
GLIBC_COLOURS = (("#5b6470", "#aab4c0"), ("#8a93a0", "#7d8794"))
POINTS = 240  # of a curve

STYLE = """
text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;fill:var(--ink-2)}
text.name{font-weight:600;font-size:12px;fill:var(--ink)} text.note{font-size:10.5px;fill:var(--ink-2)}
.grid{stroke:var(--line);stroke-width:1} .axis{stroke:var(--ink-3);stroke-width:1}
.live{fill:none;stroke:var(--ink);stroke-width:1.2;stroke-dasharray:4 3}
.silent{fill:var(--shade)} .run{fill:none;stroke-width:1;opacity:.45} .main{fill:none;stroke-width:1.8}
text.halo{fill:var(--c);font-weight:600;stroke:var(--paper);stroke-width:3px;paint-order:stroke}
.area{stroke:none;opacity:.14} .dot{stroke:var(--paper);stroke-width:1.5} .err{stroke-width:1.4;opacity:.55} .lead{stroke-width:1}
"""
LIGHT = "--paper:#fff;--ink:#15202b;--ink-2:#4a5663;--ink-3:#9aa5b1;--line:#e3e8ed;--shade:#eef2f6"
DARK = "--paper:#12171d;--ink:#eef2f6;--ink-2:#aeb9c5;--ink-3:#66727f;--line:#29323c;--shade:#1c242d"


def palette(names):
    """(light, dark) by allocator: glibc's are grey, neap's is the first."""
    found, greys, hues = {}, iter(GLIBC_COLOURS), iter(COLOURS[1:] * 4)
    for name in names:
        if name == "neap":
            found[name] = COLOURS[0]
        elif name.startswith("glibc"):
            found[name] = next(greys, None) or next(hues)
        else:
            found[name] = next(hues)
    return found


def css_name(name):
    return "s-" + "".join(c if c.isalnum() else "_" for c in name)


def colour_rules(names, dark):
    return "".join(f".{css_name(name)}{{--c:{pair[dark]}}}" for name, pair in palette(names).items())


def step_for(span, ticks):
    """The least of 1, 2, 5, 10 ... that needs no more than so many steps for the span."""
    power = 10 ** math.floor(math.log10(span / ticks))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power * ticks >= span * (1 - 1e-9))


def thin(times, values, count=POINTS):
    """At most so many points, of which each is the highest of its stretch."""
    if len(times) <= count:
        return list(zip(times, values))
    points = []
    for number in range(count):
        begin, end = number * len(times) // count, (number + 1) * len(times) // count
        at = max(range(begin, end), key=lambda i: values[i])
        points.append((times[at], values[at]))
    return points


class Panel:
    """The frame of a chart: from data to places."""

    def __init__(self, x, y, width, height, seconds, top):
        self.left, self.top = x + 38, y + 26
        self.width, self.height = width - 38 - 8, height - 26 - 20
        self.seconds, self.highest = seconds, top
        self.x, self.y, self.right = x, y, x + width

    def at(self, seconds, value):
        return (self.left + seconds / self.seconds * self.width, self.top + (1 - value / self.highest) * self.height)

    def path(self, points):
        return " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(self.at(*p) for p in points))

    def frame(self, has_unit=True):
        out = []
        step = step_for(self.highest, 4)
        for number in range(int(self.highest / step + 1e-9) + 1):
            _, y = self.at(0, number * step)
            kind = "grid" if number else "axis"
            out.append(
                f'<line class="{kind}" x1="{self.left}" x2="{self.left + self.width}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            label = f"{number * step:g}"
            out.append(f'<text x="{self.left - 5}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        step = step_for(self.seconds, max(2, int(self.width / 55)))
        for number in range(int(self.seconds / step + 1e-9) + 1):
            x, _ = self.at(number * step, 0)
            label = f"{number * step:g}" + (" s" if number == 0 and has_unit else "")
            out.append(f'<text x="{x:.1f}" y="{self.top + self.height + 14:.1f}" text-anchor="middle">{label}</text>')
        return out


def memory_panel(panel, name, curves_of_runs, main, note):
    """One allocator's runs: thin lines; the median run thick, with its live bytes dashed."""
    css = css_name(name)
    out = [f'<g class="{css}">']
    silence = main.silence()
    if silence is not None:
        (x, y), (end, _) = panel.at(silence, panel.highest), panel.at(min(main.t[-1], panel.seconds), 0)
        out.append(
            f'<rect class="silent" x="{x:.1f}" y="{y:.1f}" width="{max(0, end - x):.1f}" height="{panel.height:.1f}"/>'
        )
        if end - x > 40:
            out.append(f'<text class="note" x="{x + 4:.1f}" y="{y + 11:.1f}">silent</text>')
    out += panel.frame()
    points = thin(main.t, [value / MB for value in main.r])
    (first, base), (last, _) = panel.at(points[0][0], 0), panel.at(points[-1][0], 0)
    out.append(
        f'<path class="area" style="fill:var(--c)" d="{panel.path(points)} L{last:.1f} {base:.1f} '
        f'L{first:.1f} {base:.1f}Z"/>'
    )
    for curves in curves_of_runs:
        if curves is not main:
            d = panel.path(thin(curves.t, [value / MB for value in curves.r]))
            out.append(f'<path class="run" style="stroke:var(--c)" d="{d}"/>')
    out.append(f'<path class="main" style="stroke:var(--c)" d="{panel.path(points)}"/>')
    if max(main.l, default=0):
        out.append(f'<path class="live" d="{panel.path(thin(main.t, [value / MB for value in main.l]))}"/>')
    out.append(f'<text class="name" x="{panel.x + 2}" y="{panel.y + 12}">{escape(name)}</text>')
    out.append(f'<text class="note" x="{panel.right - 8}" y="{panel.y + 12}" text-anchor="end">{escape(note)}</text>')
    return out + ["</g>"]


def extent(runs_by_allocator):
    """(seconds, top in MB) that hold for all panels of a workload."""
    everything = [curves for runs in runs_by_allocator.values() for curves in runs]
    highest = max(max(max(c.r), max(c.l)) for c in everything) / MB or 1
    step = step_for(highest, 4)
    return max(c.t[-1] for c in everything), step * math.ceil(1.1 * highest / step)  # room for a word above the curve


def memory_svg(name, panel, runs, main, note, width, height):
    body = "".join(memory_panel(panel, name, runs, main, note))
    label = f"resident memory under {name} over time, in MB; {note}"
    return f'<svg class="panel" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{body}</svg>'


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def label_places(dots):
    """Where the names of dots stand so that none lies on another or on a dot: [(name, x, y, anchor, is_away)]."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for _, x, y in dots]
    placed = []
    for name, x, y in dots:
        width = 6.6 * len(name)
        spots = [(x + 9, y + 4, "start", 0), (x - 9, y + 4, "end", width)]
        spots += [(x, y + dy, "middle", width / 2) for dy in (-10, 18, -23, 31, -36, 44)]
        boxes = [(sx - left, sy - 10, sx - left + width, sy + 3) for sx, sy, _, left in spots]
        free = next((n for n, box in enumerate(boxes) if not any(overlap(box, other) for other in taken)), 0)
        taken.append(boxes[free])
        placed.append((name, *spots[free][:3], free > 1))
    return placed


def nice_range(values):
    """Half powers of two around them, at least an octave apart."""
    low, high = math.floor(2 * math.log2(min(values)) - 0.3), math.ceil(2 * math.log2(max(values)) + 0.3)
    return 2 ** (low / 2), 2 ** (max(high, low + 2) / 2)


def spans(points_of_charts):
    """The ranges of both axes that hold all the points of several charts."""
    values = [value for points in points_of_charts for value in points.values()]
    return tuple(nice_range([number for value in values for number in value[axis]]) for axis in (0, 1))


def scatter_svg(points, ranges, title, x_title, y_title, width=420, height=330):
    """points: {name: ((x, low, high), (y, low, high))}, as ratios; both axes logarithmic."""
    left, right, top, bottom = 58, 60, 30, 40
    span_x, span_y = ranges
    inner_width, inner_height = width - left - right, height - top - bottom

    def at_x(value):
        return left + math.log2(value / span_x[0]) / math.log2(span_x[1] / span_x[0]) * inner_width

    def at_y(value):
        return top + (1 - math.log2(value / span_y[0]) / math.log2(span_y[1] / span_y[0])) * inner_height

    out = [f'<text class="name" x="{left - 52}" y="14">{escape(title)}</text>']
    for low, high, place, is_x in ((*span_x, at_x, True), (*span_y, at_y, False)):
        count = round(2 * math.log2(high / low))
        for number in range(0, count + 1, math.ceil(count / 6)):
            value = low * 2 ** (number / 2)
            label, spot = f"{value:.2g}×", place(value)
            if is_x:
                out.append(f'<line class="grid" x1="{spot:.1f}" x2="{spot:.1f}" y1="{top}" y2="{top + inner_height}"/>')
                out.append(f'<text x="{spot:.1f}" y="{top + inner_height + 15}" text-anchor="middle">{label}</text>')
            else:
                out.append(
                    f'<line class="grid" y1="{spot:.1f}" y2="{spot:.1f}" x1="{left}" x2="{left + inner_width}"/>'
                )
                out.append(f'<text x="{left - 5}" y="{spot + 4:.1f}" text-anchor="end">{label}</text>')
    out.append(f'<text x="{left + inner_width / 2}" y="{height - 6}" text-anchor="middle">{escape(x_title)}</text>')
    middle = top + inner_height / 2
    out.append(
        f'<text x="11" y="{middle}" text-anchor="middle" transform="rotate(-90 11 {middle})">{escape(y_title)}</text>'
    )
    dots = []
    for name, ((x, x_low, x_high), (y, y_low, y_high)) in points.items():
        css, px, py = css_name(name), at_x(x), at_y(y)
        out.append(
            f'<g class="{css}"><line class="err" style="stroke:var(--c)" x1="{at_x(x_low):.1f}" '
            f'x2="{at_x(x_high):.1f}" y1="{py:.1f}" y2="{py:.1f}"/>'
            f'<line class="err" style="stroke:var(--c)" x1="{px:.1f}" x2="{px:.1f}" '
            f'y1="{at_y(y_low):.1f}" y2="{at_y(y_high):.1f}"/>'
            f'<circle class="dot" style="fill:var(--c)" cx="{px:.1f}" cy="{py:.1f}" r="5.5"/></g>'
        )
        dots.append((name, px, py))
    for (name, px, py), (_, x, y, anchor, is_away) in zip(dots, label_places(dots)):
        out.append(f'<g class="{css_name(name)}">')
        if is_away:
            end = y + 3 if y < py else y - 9
            out.append(
                f'<line class="lead" style="stroke:var(--c)" x1="{px:.1f}" x2="{x:.1f}" y1="{py:.1f}" y2="{end:.1f}"/>'
            )
        out.append(f'<text class="note halo" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(name)}</text></g>')
    label = f"{title}: {y_title} against {x_title}"
    head = f'<svg class="scatter" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    return head + "".join(out) + "</svg>"


def standalone(svg_elements, names, columns, cell_width, cell_height, title, footnote):
    """One file from several charts, for a page that shows it as an image."""
    rows = math.ceil(len(svg_elements) / columns)
    width, height = columns * cell_width + 24, rows * cell_height + 62
    placed = []
    for number, element in enumerate(svg_elements):
        x, y = 12 + number % columns * cell_width, 34 + number // columns * cell_height
        placed.append(element.replace("<svg ", f'<svg x="{x}" y="{y}" width="{cell_width}" height="{cell_height}" ', 1))
    style = (
        f":root{{{LIGHT}}}{colour_rules(names, 0)}@media (prefers-color-scheme:dark){{:root{{{DARK}}}"
        f"{colour_rules(names, 1)}}}{STYLE}.title{{font-size:15px;font-weight:600;fill:var(--ink)}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="var(--paper)"/>'
        f'<text class="title" x="12" y="22">{escape(title)}</text>{"".join(placed)}'
        f'<text class="note" x="12" y="{height - 10}">{escape(footnote)}</text></svg>\n'
    )
