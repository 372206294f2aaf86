"""The command line."""

import argparse
import math

from .workloads import PROFILES

SIZES = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

RUN_HELP = """Runs workloads under allocators, samples their memory, and says what each allocator cost and kept. Prints
a table and writes results.json, figures.csv, samples.csv, report.html and SVGs.

  neap bench list                    what there is to run, and under which allocators
  neap bench compare A.json B.json   the figures of two bake-offs side by side
  neap bench report RESULTS          the table and the report again, from a directory or a results.json

Exit status: 0 all well; 1 an --assert does not hold, or `compare` found something worse; 2 the command line is wrong,
or nothing could be run; 3 some runs failed (the others are in the report); 130 interrupted."""


def number_above(least, kind=float):
    def parse(text):
        number = kind(text)
        if not least < number < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not above {least}")
        return number

    parse.__name__ = "number"
    return parse


def size(text):
    stripped = text.strip().removesuffix("B")
    digits = stripped.rstrip("KMGikmg")
    unit = stripped[len(digits) :]
    try:
        return int(float(digits) * SIZES[unit[:1].upper() + unit[1:]])
    except (ValueError, KeyError) as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no size such as 64M or 64Mi") from error


def names(text):
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError("no name given")
    return found


def add_assertions(parser):
    parser.add_argument(
        "--assert",
        dest="assertions",
        action="append",
        default=[],
        metavar="EXPR",
        help="'[WORKLOAD:] EXPRESSION' over ALLOCATOR.FIGURE, such as 'burst*: neap.idle_10s_mb <= 20' or "
        "'neap.overhead < 1.2 * glibc.overhead'; exit status 1 where it does not hold",
    )


def run_parser():
    parser = argparse.ArgumentParser(
        "neap bench", description=RUN_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--profile", choices=PROFILES, default="quick", help="quick: 2 minutes (the default), standard: 20, full: hours"
    )
    parser.add_argument("--workloads", type=names, metavar="NAME,...", help="these only, in full; * and ? match")
    parser.add_argument("--allocators", type=names, metavar="NAME,...", help="these only; * and ? match")
    parser.add_argument(
        "--allocator",
        action="append",
        default=[],
        metavar="NAME=PATH[,VARIABLE=VALUE...]",
        help="a further one: a library to preload, and variables; PATH may be empty",
    )
    parser.add_argument(
        "--repeats", type=number_above(0, int), metavar="N", help="runs of each; else by profile and time"
    )
    parser.add_argument("--scale", type=number_above(0), metavar="X", help="that many times the work")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the workloads and of the order (1)")
    parser.add_argument("--limit", type=size, metavar="SIZE", help="run everything under this memory limit")
    parser.add_argument("--least-limit", action="store_true", help="look for the least limit of every scenario")
    parser.add_argument(
        "--count-calls", action="store_true", help="count madvise calls of every scenario (with strace)"
    )
    parser.add_argument("--interval", type=number_above(0), default=50, metavar="MS", help="between samples (50)")
    parser.add_argument(
        "--program",
        action="append",
        default=[],
        metavar="PATH",
        help="a further program of workloads; in front of ours where names are the same",
    )
    parser.add_argument("--out", metavar="DIR", help="where the results go (neap-bench-DATE-TIME)")
    parser.add_argument("--resume", metavar="DIR", help="go on with a bake-off that was interrupted")
    add_assertions(parser)
    return parser


def list_parser():
    parser = argparse.ArgumentParser("neap bench list", description="Lists workloads and allocators.")
    parser.add_argument("--program", action="append", default=[], metavar="PATH", help="a further program of workloads")
    return parser


def report_parser():
    parser = argparse.ArgumentParser("neap bench report", description="Prints the table and writes the report again.")
    parser.add_argument("results", help="a results.json, or the directory of a bake-off, also of an unfinished one")
    parser.add_argument("--out", metavar="DIR", help="where the report goes (beside the results)")
    add_assertions(parser)
    return parser


def compare_parser():
    parser = argparse.ArgumentParser(
        "neap bench compare",
        description="Compares the figures of two bake-offs. A change counts where the runs' "
        "ranges do not overlap and the medians differ by more than 3 %%. Exit status: 1 where something is worse.",
    )
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--allocators", type=names, metavar="NAME,...", help="these only; * and ? match")
    return parser
