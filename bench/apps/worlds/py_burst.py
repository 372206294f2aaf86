"""Bursts of JSON and dicts in four threads; 1 % of the requests leave something behind; then silence."""

import time

from bench import PYTHON, SERVERS, World
from errors import Failed


def run(bench):
    def burst(requests):
        started = time.monotonic()
        server.ask(do="burst", requests=requests)
        seconds = time.monotonic() - started
        bench.note_requests(requests, seconds)

    def finish():
        server.ask(do="finish")

    def low():
        finish()
        for _ in range(4):
            server.ask(do="burst", requests=1)
            finish()
            bench.sleep(bench.profile.low_seconds / 4)

    argv = [PYTHON, f"{SERVERS}/py_burst.py", "--seed", str(bench.seed)]
    with bench.serve(argv, pipes=True) as server:
        bench.course(
            warm=lambda: burst(bench.count(50)),
            cycle=lambda: burst(bench.count(400)),
            low=low,
            peak=lambda: burst(bench.count(1500)),
            drain=finish,
        )
        if not server.ask(do="check")["intact"]:
            raise Failed("py-burst: the service's sessions were damaged")


WORLDS = [
    World(
        name="py-burst",
        world="A1",
        summary="Python service: bursts of JSON requests, 1 % of which leave something behind",
        needs=[],
        run=run,
        is_python=True,
    )
]
