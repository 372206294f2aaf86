"""`neap bench`: what each of its commands does."""

import fnmatch
import os
import shlex
import signal
import sys
import time

from . import allocators as allocators_module
from . import count, environment, execute, expressions, options, plan, report, results, schedule, table, workloads
from .compare import compare
from .errors import BenchError, UsageError
from .limits import Limits, NoLimits

GOOD, WORSE, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def bench_directory():
    """Where the built workloads are: told by `neap`, or that of the release build in a source tree."""
    return os.environ.get("NEAP_BENCH_DIR") or os.path.join(ROOT, "build/release/bench")


def neap_library():
    told = os.environ.get("NEAP_LIBRARY") or os.path.join(ROOT, "build/release/lib/libneap.so")
    return told if os.path.isfile(told) else None


def say(message):
    print(f"neap bench: {message}", file=sys.stderr, flush=True)


def choose_allocators(wanted, given, profile):
    """(allocators that can be used, notes on those that cannot)"""
    here, notes = allocators_module.default_allocators(neap_library())
    further = [allocators_module.parse_allocator(text) for text in given]
    names = {allocator.name for allocator in further}
    if len(names) < len(further):
        raise UsageError("two --allocator have the same name")
    here = [allocator for allocator in here if allocator.name not in names]
    if wanted:
        here, notes = workloads.choose(here + further, wanted, "allocator"), []
    else:
        here = [each for each in here if profile.has_variants or not each.is_variant] + further
    for allocator in here:
        allocators_module.check(allocator)
    return here, notes


def profile_of(chosen):
    profile = plan.PROFILES[chosen.profile]
    if chosen.least_limit:
        profile = profile._replace(limits=True)
    if chosen.count_calls:
        profile = profile._replace(counts=True)
    return profile


def conditions_of(saved):
    profile = plan.PROFILES[saved["profile"]]
    return {
        kind: execute.Conditions(
            profile.depth[kind], saved["seed"], saved["scale"], saved["interval"] / 1000, profile.silence
        )
        for kind in workloads.KINDS
    }


def make_plan(chosen, arguments):
    """The plan as plan.json has it."""
    profile = profile_of(chosen)
    everything, missing = workloads.discover(bench_directory(), chosen.program)
    picked = workloads.choose(everything, chosen.workloads, "workload") if chosen.workloads else everything
    used, notes = choose_allocators(chosen.allocators, chosen.allocator, profile)
    notes += [f"{path} is not built" for path in missing]
    if chosen.limit or profile.limits:
        try:
            Limits()
        except NoLimits as error:
            if chosen.limit or chosen.least_limit:
                raise
            notes.append(str(error))
            profile = profile._replace(limits=False)
    uncounted = profile.counts and count.why_not()
    if uncounted:
        if chosen.count_calls:
            raise BenchError(uncounted)
        notes.append(uncounted)
        profile = profile._replace(counts=False)
    tasks, left_out = plan.make(picked, used, profile, chosen.seed, chosen.repeats, is_bounded=not chosen.workloads)
    if left_out:
        some = ", ".join(left_out[:4]) + (", ..." if len(left_out) > 4 else "")
        notes.append(f"no time for {len(left_out)} workloads: {some} (a longer --profile, or name them in --workloads)")
    if not tasks:
        raise BenchError("nothing to run")
    identities = [allocator.identity() for allocator in used]
    for identity in identities:
        identity["package"] = identity["library"] and environment.package_of(identity["library"])
    kept = {task.workload for task in tasks}
    return {
        "schema": results.SCHEMA,
        "environment": environment.describe(),
        "options": {
            "profile": chosen.profile,
            "seed": chosen.seed,
            "scale": chosen.scale,
            "interval": chosen.interval,
            "limit": chosen.limit,
            "command": "neap bench " + shlex.join(arguments),
        },
        "notes": notes,
        "allocators": identities,
        "workloads": [each._asdict() for each in picked if each.name in kept],
        "tasks": tasks,
    }


def restore(saved):
    """(workloads, allocators, tasks) of a saved plan."""
    kept = [workloads.Workload(**each) for each in saved["workloads"]]
    used = []
    for each in saved["allocators"]:
        allocator = allocators_module.Allocator(each["name"], each["library"], each["env"], each["summary"])
        allocators_module.check(allocator)
        if allocator.identity()["sha256"] != each["sha256"]:
            raise BenchError(f"{each['library']} has changed since the bake-off began: start a new one")
        used.append(allocator)
    return kept, used, [plan.Task(*task) for task in saved["tasks"]]


def write_all(store, whole):
    """Whether there was room for it."""
    try:
        store.write("results.json", results.dumps(whole))
        results.write_csv(store, whole)
        for line in report.write(store, whole):
            print(line)
    except BenchError as error:
        say(f"{error}; when there is room: neap bench report {store.directory}")
        return False
    return True


def finish(store, saved, runs, assertions):
    """Prints and writes what there is; answers the exit status."""
    whole = results.whole(saved, runs)
    print(table.render(whole), flush=True)  # first: it needs no disk
    is_written = write_all(store, whole)
    failed = expressions.check_all(assertions, whole)
    if failed:
        return WORSE
    bad = [run for run in runs if run["status"] not in (execute.OK, execute.CANNOT)]
    if not any(run["status"] == execute.OK for run in runs):
        return USAGE
    return SOME_FAILED if bad or not is_written else GOOD


def interrupt(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(arguments):
    chosen = options.run_parser().parse_args(arguments)
    for text in chosen.assertions:
        expressions.parse(text)
    if chosen.resume:
        extra = [
            word
            for word in arguments
            if word.startswith("--") and word.partition("=")[0] not in ("--resume", "--assert")
        ]
        if extra:
            raise UsageError(f"--resume goes on as the bake-off began: {extra[0]} cannot be given with it")
        store = results.Store(chosen.resume)
        saved = store.plan()
    else:
        saved = make_plan(chosen, arguments)
        store = results.Store(chosen.out or time.strftime("neap-bench-%Y%m%d-%H%M%S"))
        store.begin(saved)
    kept, used, tasks = restore(saved)
    runs = store.runs()
    done = results.done_tasks(runs)
    left = [task for task in tasks if task not in done]
    for note in saved["notes"]:
        say(note)
    say(f"{len(left)} runs: {len(kept)} workloads, {len(used)} allocators; results in {store.directory}")
    carrier = schedule.Schedule(
        store,
        plan.PROFILES[saved["options"]["profile"]],
        kept,
        used,
        conditions_of(saved["options"]),
        bench_directory(),
        saved["options"]["limit"],
    )
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    try:
        carrier.carry_out(left, runs)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        if runs:
            finish(store, saved, runs, [])
        say(f"interrupted after {len(runs)} of {len(tasks)} runs; go on with: neap bench --resume {store.directory}")
        return INTERRUPTED
    except BenchError as error:
        say(str(error))
        if runs:
            finish(store, saved, runs, [])
        say(f"stopped after {len(runs)} of {len(tasks)} runs; go on with: neap bench --resume {store.directory}")
        return SOME_FAILED
    return finish(store, saved, runs, chosen.assertions)


def list_all(arguments):
    chosen = options.list_parser().parse_args(arguments)
    everything, missing = workloads.discover(bench_directory(), chosen.program)
    here, notes = allocators_module.default_allocators(neap_library())
    width = max(len(each.name) for each in everything)
    print("Workloads:")
    for each in everything:
        print(f"  {each.name:{width}}  {each.world:4} {each.kind:8} {each.seconds['quick']:4.0f} s  {each.summary}")
    print("\nAllocators:")
    for each in here:
        print(f"  {each.name:{width}}  {each.summary}" + (f" ({each.library})" if each.library else ""))
    for note in [*notes, *(f"{path} is not built" for path in missing)]:
        print(f"  not here: {note}")
    return GOOD


def report_again(arguments):
    chosen = options.report_parser().parse_args(arguments)
    directory = chosen.results if os.path.isdir(chosen.results) else os.path.dirname(chosen.results) or "."
    if os.path.isdir(chosen.results) and os.path.exists(os.path.join(directory, "plan.json")):
        store = results.Store(directory)
        whole = results.whole(store.plan(), store.runs())
    else:
        whole = results.load(chosen.results)
    store = results.Store(chosen.out or directory)
    os.makedirs(store.directory, exist_ok=True)
    written = report.write(store, whole)
    print(table.render(whole))
    for line in written:
        print(line)
    return WORSE if expressions.check_all(chosen.assertions, whole) else GOOD


def compare_two(arguments):
    chosen = options.compare_parser().parse_args(arguments)
    before, after = results.load(chosen.before), results.load(chosen.after)

    def wanted(name):
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in chosen.allocators or ["*"])

    text, worse = compare(before, after, wanted)
    print(text)
    return WORSE if worse else GOOD


COMMANDS = {"list": list_all, "report": report_again, "compare": compare_two}


def main(arguments):
    command = COMMANDS.get(arguments[0]) if arguments else None
    try:
        return command(arguments[1:]) if command else run(arguments)
    except BenchError as error:
        say(str(error))
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return GOOD
