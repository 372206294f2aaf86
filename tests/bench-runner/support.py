"""What the tests of `neap bench` share."""

import functools
import json
import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
TIMEOUT = 150
NEAP = TMP = None


def configure(neap, directory):
    global NEAP, TMP
    NEAP, TMP = os.path.abspath(neap), directory


def path(name):
    return os.path.join(TMP, name)


@functools.cache
def compiled(source, name, *flags):
    command = [
        "cc",
        "-O1",
        "-Wall",
        "-Werror",
        "-fno-builtin-malloc",
        "-o",
        path(name),
        os.path.join(HERE, source),
        *flags,
    ]
    subprocess.run(command, check=True)
    return path(name)


def workloads():
    return compiled("workloads.c", "workloads")


def shim(kind):
    return compiled("shim.c", f"{kind}.so", "-shared", "-fPIC", "-D" + kind.upper())


def environment(**changes):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("NEAP_", "LD_", "MALLOC_"))}
    return {**kept, **changes}


def bench_command(*arguments):
    return [NEAP, "bench", *map(str, arguments)]


def bench(*arguments, **variables):
    """Runs `neap bench` and answers what came of it."""
    return subprocess.run(
        bench_command(*arguments),
        env=environment(**variables),
        cwd=TMP,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def bake_off(out, workload_names, allocators, *more):
    return bench(
        "--program", workloads(), "--workloads", workload_names, "--allocators", allocators, "--out", path(out), *more
    )


def results(out):
    with open(os.path.join(path(out), "results.json"), encoding="utf-8") as file:
        return json.load(file)


@functools.cache
def installed_allocators():
    listed = bench("list", "--program", workloads()).stdout.partition("Allocators:")[2]
    return set(re.findall(r"^  ([a-z0-9-]+)  ", listed, re.MULTILINE))


@functools.cache
def known_answers():
    """One bake-off that several tests look at: (what ran, results)."""
    wanted = ["glibc", "neap", "jemalloc", "jemalloc-bg", "mimalloc", "leaky", "slow"]
    names = [name for name in wanted if name in installed_allocators() | {"leaky", "slow"}]
    done = bake_off(
        "known",
        "burst,burst-trim,cycles",
        ",".join(names),
        "--repeats",
        "1",
        "--allocator",
        "leaky=" + shim("leaks"),
        "--allocator",
        "slow=" + shim("slow"),
    )
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return done, results("known")


def median(workload, allocator, figure):
    return known_answers()[1]["summary"][workload][allocator][figure]["median"]
