"""Two bake-offs side by side."""

from .figures import FIGURES
from .text import columns, number

INFINITE = float("inf")  # not given back in the time watched
LEAST_CHANGE = 0.03
LEAST_CHANGE_OF_ONE = 0.1  # where there is one run, whose spread nobody knows


def differs(old, new):
    """Whether two medians differ by more than the runs do among themselves."""
    numbers = [
        [INFINITE if entry[key] is None else entry[key] for key in ("low", "median", "high")] for entry in (old, new)
    ]
    (low, before, high), (new_low, after, new_high) = numbers
    if before == after or (low <= new_high and new_low <= high):
        return False
    if INFINITE in (before, after):
        return True
    least = LEAST_CHANGE if min(old["runs"], new["runs"]) > 1 else LEAST_CHANGE_OF_ONE
    return abs(after - before) > least * max(abs(before), abs(after))


def is_less(old, new):
    return (INFINITE if old["median"] is None else old["median"]) < (
        INFINITE if new["median"] is None else new["median"]
    )


def judged(figure, old, new):
    """ "better" or "worse", "" where they do not differ."""
    if not differs(old, new):
        return ""
    return "better" if is_less(old, new) == figure.more_is_better else "worse"


def compare(before, after, wanted):
    """(text, how many figures are worse)"""
    rows, counts, same = [("workload", "allocator", "figure", "before", "after", "change", "")], {}, 0
    for workload, allocators in after["summary"].items():
        for allocator, figures in allocators.items():
            old_figures = before["summary"].get(workload, {}).get(allocator)
            if old_figures is None or not wanted(allocator):
                continue
            for figure in FIGURES:
                if figure.key not in figures or figure.key not in old_figures:
                    continue
                old, new = old_figures[figure.key], figures[figure.key]
                judgement = judged(figure, old, new)
                counts[judgement] = counts.get(judgement, 0) + 1
                if not judgement:
                    same += 1
                    continue
                change = ""
                if old["median"] and new["median"] is not None:
                    change = f"{(new['median'] / old['median'] - 1) * 100:+.1f} %"
                title = figure.title + (f", {figure.unit}" if figure.unit else "")
                rows.append((workload, allocator, title, number(figure, old), number(figure, new), change, judgement))
    only = sorted(set(before["summary"]) ^ set(after["summary"]))
    lines = columns(rows, right=(3, 4, 5)) if len(rows) > 1 else []
    lines.append(
        f"{counts.get('worse', 0)} worse, {counts.get('better', 0)} better, {same} the same within their spread"
    )
    if only:
        lines.append(f"only in one of them: {', '.join(only)}")
    if not counts:
        lines.append("nothing to compare: no workload and allocator is in both")
    return "\n".join(lines), counts.get("worse", 0)
