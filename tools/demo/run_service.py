"""Runs service.py under one arm and samples it."""

import json
import os
import selectors
import time

from arms import Child, DemoError, Run, check_preload, clean_environment
from sampler import Sampler

PYTHON = "/usr/bin/python3"
SERVICE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "service.py")
DEADLINE = 60


def environment(arm, workspace):
    # Both arms: without it Python serves small objects from its own pools, and the allocator is hardly asked.
    variables = {**clean_environment(), "PYTHONMALLOC": "malloc"}
    if arm.library:
        variables["LD_PRELOAD"] = workspace.preload_path(arm.library)
    return variables


def read_reports(child, deadline):
    """Yields the JSON objects that the service prints, until it closes its output."""
    output = child.process.stdout
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0, deadline - time.monotonic())):
                raise DemoError(f"{child.name} took longer than {DEADLINE} s")
            data = os.read(output.fileno(), 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            yield from map(json.loads, lines)


def measure(arm, workspace, silence, extra=()):
    command = [PYTHON, SERVICE, "--silence", str(silence), *extra]
    result = None
    name = f"the Python service under {arm.name}"
    with Child(name, command, environment(arm, workspace), workspace.file("service.log"), read_output=True) as child:
        sampler = None
        try:
            for report in read_reports(child, time.monotonic() + DEADLINE):
                phase = report.get("phase")
                if phase == "start":
                    check_preload(child, arm)
                    sampler = Sampler(child.pid)
                    sampler.start()
                if phase == "end":
                    sampler.stop()
                elif phase:
                    sampler.begin_phase(phase)
                else:
                    result = report
        finally:
            if sampler:
                sampler.stop()
        if child.process.wait() != 0 or result is None:
            raise child.failure()
    if not result["intact"]:
        raise DemoError(f"the service's sessions were damaged under {arm.name}")
    note = f"{result['kept']} of {result['requests']} requests kept {result['kept_bytes'] / 1e6:.1f} MB"
    return Run(arm.name, sampler.samples, sampler.phases, sampler.measure, note)
