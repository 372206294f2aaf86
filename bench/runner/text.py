"""Numbers and columns as text."""


def plain(value, decimals):
    if value is None:
        return "–"
    shown = f"{value:,.{decimals}f}"
    return shown.lstrip("-") if float(shown.replace(",", "")) == 0 else shown


def number(figure, entry):
    """A figure's median as people read it."""
    if entry is None:
        return "–"
    if entry["median"] is None:
        return f"> {entry['watched_s']:.0f}"
    return plain(entry["median"], figure.decimals)


def spread(figure, entry):
    """Its lowest and highest run, empty where there was one."""
    if entry is None or entry["runs"] < 2:
        return ""
    high = f"> {entry['watched_s']:.0f}" if entry["high"] is None else plain(entry["high"], figure.decimals)
    low = f"> {entry['watched_s']:.0f}" if entry["low"] is None else plain(entry["low"], figure.decimals)
    return low if low == high else f"{low}–{high}"


def columns(rows, right=(), gap="  "):
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        gap.join(
            cell.rjust(w) if at in right else cell.ljust(w) for at, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
