"""Renders memory curves as text: filled charts side by side, and a table."""

import math
from typing import NamedTuple

from sampler import mb_at, peak_mb, phase_start


class Glyphs(NamedTuple):
    fills: str  # a cell from empty to full
    tick: str
    side: str
    corner: str
    floor: str
    begin: str  # before the name of a phase


UNICODE = Glyphs(" ▁▂▃▄▅▆▇█", "┤", "│", "└", "─", "╵")
ASCII = Glyphs(" .:#", "+", "|", "+", "-", "|")

HEIGHT = 10
GAP = "  "
NARROWEST_PANEL = 30  # narrower ones stand one above the other


def tick_step(span, ticks):
    """The least of 1, 2, 5, 10, 20 ... that needs no more than so many steps for the span."""
    power = 10 ** math.floor(math.log10(span / ticks))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power * ticks >= span * (1 - 1e-9))


def column_values(samples, columns, seconds):
    """The highest sample within each column, else the one before it; None after the curve's end."""
    values = [None] * columns
    for sample in samples:
        column = min(columns - 1, int(sample.seconds / seconds * columns))
        values[column] = max(values[column] or 0, sample.mb)
    last = max((c for c, value in enumerate(values) if value is not None), default=-1)
    for column in range(1, last + 1):
        if values[column] is None:
            values[column] = values[column - 1]
    return values


def fill_rows(values, top, glyphs):
    full = len(glyphs.fills) - 1
    rows = []
    for row in reversed(range(HEIGHT)):
        cells = ""
        for value in values:
            # What is not zero shows.
            level = max(1, round(value / top * HEIGHT * full)) if value else 0
            cells += glyphs.fills[max(0, min(full, level - row * full))]
        rows.append(cells)
    return rows


def place(row, start, text):
    """The row with the text at `start`, or None where it would touch what is there or pass the end."""
    end = start + len(text)
    if end > len(row) or row[max(0, start - 1) : end].strip():
        return None
    return row[:start] + text + row[end:]


def second_labels(columns, seconds):
    row = " " * columns
    step = tick_step(seconds, 4)
    for number in range(int(seconds / step + 1e-9) + 1):
        label = f"{number * step:g}" + (" s" if number == 0 else "")
        row = place(row, int(number * step / seconds * columns), label) or row
    return row


def phase_labels(phases, columns, seconds, glyphs):
    """Names under the columns where their phases begin, in as many rows as keep them apart."""
    rows = []
    for start, name in phases:
        column = min(columns - 1, int(start / seconds * columns))
        text = (glyphs.begin + name)[: columns - column]
        for index, row in enumerate(rows):
            placed = place(row, column, text)
            if placed:
                rows[index] = placed
                break
        else:
            rows.append(place(" " * columns, column, text))
    return rows


def render_panel(run, width, seconds, step, top, glyphs):
    """Lines of exactly `width` characters, apart from the phase rows all charts have the same number of lines."""
    margin = len(f"{top:g}") + 1
    columns = width - margin - 1
    tick_rows = {HEIGHT - round(n * step / top * HEIGHT): f"{n * step:g}" for n in range(1, round(top / step) + 1)}
    values = column_values(run.samples, columns, seconds)
    lines = [f"{'':{margin + 1}}{run.arm}, MB"]
    for number, cells in enumerate(fill_rows(values, top, glyphs)):
        label = tick_rows.get(number)
        lines.append(f"{label or '':>{margin - 1}} {glyphs.tick if label else glyphs.side}{cells}")
    if not run.samples:
        lines[HEIGHT // 2] = lines[HEIGHT // 2][: margin + 1] + " no samples"
    lines.append(f"{'0':>{margin - 1}} {glyphs.corner}{glyphs.floor * columns}")
    lines.append(" " * (margin + 1) + second_labels(columns, seconds))
    lines += [" " * (margin + 1) + row for row in phase_labels(run.phases, columns, seconds, glyphs)]
    return [line[:width].ljust(width) for line in lines]


def render_charts(runs, width, glyphs):
    """The runs' charts with common axes, side by side where the width allows."""
    highest = max((peak_mb(run.samples) or 0 for run in runs), default=0) or 1
    seconds = max((run.samples[-1].seconds for run in runs if run.samples), default=0) or 1
    step = tick_step(highest, 5)
    top = step * math.ceil(highest / step)
    side_by_side = (width - len(GAP) * (len(runs) - 1)) // len(runs)
    beside = side_by_side >= NARROWEST_PANEL
    panel_width = side_by_side if beside else max(width, NARROWEST_PANEL)
    panels = [render_panel(run, panel_width, seconds, step, top, glyphs) for run in runs]
    if not beside:
        return [line.rstrip() for panel in panels for line in panel]
    height = max(map(len, panels))
    padded = [panel + [" " * panel_width] * (height - len(panel)) for panel in panels]
    return [GAP.join(lines).rstrip() for lines in zip(*padded)]


def mb_after_silence(run, seconds):
    silent = phase_start(run.phases, "silent")
    return None if silent is None else mb_at(run.samples, silent + seconds)


def render_table(runs):
    def mb(value):
        return "-" if value is None else f"{value:.1f}"

    rows = [("", "peak MB", "1 s silent", "3 s silent", "CPU s", "faults")]
    for run in runs:
        after = [mb(mb_after_silence(run, seconds)) for seconds in (1, 3)]
        cost = (f"{run.samples[-1].cpu_seconds:.2f}", f"{run.samples[-1].faults:,}") if run.samples else ("-", "-")
        rows.append((run.arm, mb(peak_mb(run.samples)), *after, *cost))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    ]
