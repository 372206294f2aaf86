"""A Flask application whose global dict of sessions fills and is cleared."""

from bench import PYTHON, SERVERS, World
from clients import HttpLoad, http_request


def make_request(bench):
    rng = bench.random

    def make(number):
        if rng.random() < 0.2:
            return http_request("GET", f"/session/{rng.randrange(number + 1)}")
        items = [
            {"sku": f"{rng.randrange(10**6):06d}", "title": "t" * rng.randrange(8, 100), "price": 9.5}
            for _ in range(min(100, int(rng.lognormvariate(3, 0.7)) + 1))
        ]
        return http_request("POST", f"/session/{number}", {"user": "u" * rng.randrange(5, 40), "items": items})

    return make


def run(bench):
    port = bench.port()
    with bench.serve([PYTHON, f"{SERVERS}/session_dict.py", str(port)], port):
        load = HttpLoad(bench, port)

        def clear():
            load.run([http_request("POST", "/clear")], connections=1, rate=1)

        load.course(make_request(bench), warm=50, cycle=300, low_rate=30, peak=900, drain=clear)


WORLDS = [
    World(
        name="session-dict",
        world="A4",
        summary="Flask with sessions in a global dict that grows and is cleared",
        needs=["python3-flask"],
        run=run,
        is_python=True,
    )
]
