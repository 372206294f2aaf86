"""Puma and Sinatra: threads that each build and drop objects, the best-known victim of glibc's arenas."""

from bench import SERVERS, World
from clients import HttpLoad, http_request
from needs import program


def make_request(bench):
    rng = bench.random

    def make(number):
        if rng.random() < 0.3:
            return http_request("GET", f"/orders?count={rng.randrange(5, 60)}")
        items = [
            {"sku": f"{rng.randrange(10**6):06d}", "title": "t" * rng.randrange(8, 100)}
            for _ in range(min(200, int(rng.lognormvariate(3, 0.8)) + 1))
        ]
        return http_request("POST", f"/orders/{number}", {"note": "n" * rng.randrange(4000), "items": items})

    return make


def run(bench):
    port = bench.port()
    argv = [program("puma"), "--threads", "16:16", "--environment", "production"]
    argv += ["--bind", f"tcp://127.0.0.1:{port}", f"{SERVERS}/puma.ru"]
    with bench.serve(argv, port):
        HttpLoad(bench, port).course(make_request(bench), warm=100, cycle=400, low_rate=30, peak=1200)


WORLDS = [
    World(
        name="ruby-puma",
        world="A7",
        summary="Puma and Sinatra with 16 threads",
        needs=["puma", "ruby-sinatra"],
        run=run,
    )
]
