"""What shall be run: tasks chosen for a profile and its time, in random order of the allocators."""

import random
from typing import NamedTuple, Optional

RUN, LIMIT, COUNT = "run", "limit", "count"  # kinds of task: measured, least memory limit, madvise calls
STARTING_SECONDS = 0.4  # beside the workload's own time
LIMIT_PROBES = 7


class Profile(NamedTuple):
    depth: dict  # the workloads' own profile, by kind
    repeats: dict  # by kind
    budget: Optional[float]  # seconds; None: everything
    has_variants: bool  # also other settings of an allocator that is there
    silence: Optional[float]  # seconds of the apps, shorter than their own
    limits: bool  # whether the scenarios' least limits are looked for
    counts: bool  # whether the scenarios' madvise calls are counted


QUICKLY = {"scenario": "quick", "app": "quick", "micro": "quick"}
PROFILES = {
    "quick": Profile(QUICKLY, {"scenario": 1, "app": 1, "micro": 1}, 125, False, 1.5, False, False),
    "standard": Profile(QUICKLY, {"scenario": 2, "app": 1, "micro": 1}, 1210, True, None, False, False),
    "full": Profile(
        {"scenario": "full", "app": "full", "micro": "full"},
        {"scenario": 5, "app": 3, "micro": 3},
        None,
        True,
        None,
        True,
        True,
    ),
}
APP_SILENCE = 10  # of their quick profile
# Where the time does not suffice for all, these come first: the worlds that tell allocators apart, real programs among
# them.
PREFERRED = (
    "py-burst+malloc",
    "burst",
    "idle-threads",
    "long-conn-all+malloc",
    "connection-staircase",
    "redis-mixed",
    "requests-1",
    "diurnal",
    "asgi-orm+malloc",
    "size-shift",
    "thread-per-connection",
    "micro",
    "steady-churn",
    "ruby-puma",
    "client-churn-each+malloc",
    "growing-buffers",
    "session-dict+malloc",
    "tcp-conn-threads",
    "frame-batch",
    "deep-shrink",
    "producer-consumer",
    "requests-5",
    "requests-0.1",
)


class Task(NamedTuple):
    what: str
    workload: str
    allocator: str
    repeat: int


def preferred_first(workloads):
    rank = {name: number for number, name in enumerate(PREFERRED)}
    return sorted(workloads, key=lambda workload: rank.get(workload.name, len(rank)))


def seconds_of(task, workload, profile):
    once = workload.estimate(profile.depth[workload.kind]) + STARTING_SECONDS
    if workload.kind == "app" and profile.silence is not None:
        once = max(1, once - APP_SILENCE + profile.silence)
    return once * {RUN: 1, LIMIT: LIMIT_PROBES, COUNT: 2}[task.what]


def make(workloads, allocators, profile, seed, repeats=None, is_bounded=True):
    """(tasks in the order of their running, names of the workloads for which there is no time)"""
    order = random.Random(seed)
    left, chosen = profile.budget if is_bounded and profile.budget else float("inf"), []
    for workload in preferred_first(workloads):
        wanted = [(RUN, workload, 1 + number) for number in range(repeats or profile.repeats[workload.kind])]
        if workload.kind == "scenario":
            wanted += [(LIMIT, workload, 1)] * profile.limits + [(COUNT, workload, 1)] * profile.counts
        cost = sum(seconds_of(Task(what, workload.name, "", 1), workload, profile) for what, _, _ in wanted)
        if cost * len(allocators) <= left:
            left -= cost * len(allocators)
            chosen += wanted
    # Measured runs round after round, so that a slow spell of the machine meets all; then what builds on them.
    chosen.sort(key=lambda each: (each[0] != RUN, each[2]))
    tasks = []
    for what, workload, number in chosen:
        names = [allocator.name for allocator in allocators]
        order.shuffle(names)
        tasks += [Task(what, workload.name, name, number) for name in names]
    kept = {task.workload for task in tasks}
    return tasks, [workload.name for workload in workloads if workload.name not in kept]
