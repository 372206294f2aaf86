#!/usr/bin/python3
"""Requests per second of the README's FastAPI example with its middleware, as a share of those without it, under
neap: throughput.py --library LIB --package DIR [--rounds N] [--seconds S]

DIR is what build.sh has made (build/python/lib). The two servers share the first CPU, and wrk loads one after the
other from the second; every round gives one ratio."""

import argparse
import os
import re
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True

from serving import Uvicorn  # noqa: E402

WITHOUT = "\napp.user_middleware.clear()\napp.middleware_stack = app.build_middleware_stack()\n"


def rate(server, seconds):
    address = f"http://127.0.0.1:{server.port}/items/7"
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{seconds}s", address]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"throughput: requests failed:\n{text}")
    return float(re.search(r"Requests/sec: +([\d.]+)", text)[1])


def show(what, values, digits):
    low, middle, high = min(values), statistics.median(values), max(values)
    print(f"{what}: median {middle:.{digits}f}, min {low:.{digits}f}, max {high:.{digits}f}")


def main():
    parser = argparse.ArgumentParser(description="The cost of a scope a request, in throughput.")
    parser.add_argument("--library", required=True, type=os.path.abspath)
    parser.add_argument("--package", required=True, type=os.path.abspath)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    environment = {"LD_PRELOAD": options.library, "PYTHONPATH": options.package, "PYTHONMALLOC": "malloc"}
    with Uvicorn("fastapi_app", WITHOUT, environment=environment) as plain, \
            Uvicorn("fastapi_app", environment=environment) as scoped:
        if not scoped.get("/scopes")[1]:
            sys.exit(f"throughput: {options.library} has no scopes")
        for server in (plain, scoped):
            subprocess.run(["taskset", "-acp", "0", str(server.process.pid)], check=True, stdout=subprocess.DEVNULL)
            rate(server, 1)
        rates = {plain: [], scoped: []}
        for number in range(options.rounds):
            for server in (plain, scoped) if number % 2 else (scoped, plain):
                rates[server].append(rate(server, options.seconds))
    show("requests/s without", rates[plain], 0)
    show("requests/s with", rates[scoped], 0)
    show("ratio", [b / a for a, b in zip(rates[plain], rates[scoped])], 3)


if __name__ == "__main__":
    main()
