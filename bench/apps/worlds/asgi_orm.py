"""A flat rate of requests to a service of models and database rows."""

from bench import PYTHON, SERVERS, World
from clients import HttpLoad, http_request

ORDERS = 400


def make_request(bench):
    rng = bench.random

    def order():
        items = [
            {"sku": f"{rng.randrange(10**6):06d}", "title": "t" * rng.randrange(8, 100), "price": 9.5, "quantity": 1}
            for _ in range(min(60, int(rng.lognormvariate(2, 0.8)) + 1))
        ]
        return {"customer": "c" * rng.randrange(5, 60), "note": "n" * rng.randrange(2000), "items": items}

    def make(_number):
        kind, number = rng.random(), rng.randrange(ORDERS)
        if kind < 0.35:
            return http_request("PUT", f"/orders/{number}", order())
        if kind < 0.75:
            return http_request("GET", f"/orders/{number}")
        if kind < 0.95:
            query = f"first={number}&count={rng.randrange(5, 40)}&columns={rng.randrange(8)}"
            return http_request("GET", f"/search?{query}")
        return http_request("GET", "/report")

    return make


def run(bench):
    port = bench.port()
    argv = [PYTHON, "-m", "uvicorn", "--app-dir", SERVERS, "--host", "127.0.0.1", "--port", str(port)]
    with bench.serve([*argv, "--log-level", "warning", "asgi_orm:app"], port):
        HttpLoad(bench, port).course(make_request(bench), warm=40, cycle=130, low_rate=30, peak=300)


WORLDS = [
    World(
        name="asgi-orm",
        world="A2",
        summary="uvicorn, FastAPI, pydantic and SQLAlchemy on SQLite at a flat rate",
        needs=["uvicorn", "python3-fastapi", "python3-sqlalchemy"],
        run=run,
        is_python=True,
    )
]
