"""A service that calls an API through python-gitlab, in two arms: one client for all, a new client for each request."""

from bench import PYTHON, SERVERS, World, free_port
from clients import HttpLoad, http_request


def run_arm(clients):
    def run(bench):
        stub_port = free_port()
        stub = bench.helper("gitlab-stub", [PYTHON, f"{SERVERS}/gitlab_stub.py", str(stub_port)])
        with stub:
            stub.wait_until_open(stub_port)
            port = bench.port()
            argv = [PYTHON, "-m", "uvicorn", "--app-dir", SERVERS, "--host", "127.0.0.1", "--port", str(port)]
            environment = {"STUB": f"http://127.0.0.1:{stub_port}", "CLIENTS": clients}
            with bench.serve([*argv, "--log-level", "warning", "client_churn:app"], port, env=environment):
                HttpLoad(bench, port).course(
                    lambda number: http_request("GET", f"/summary/{bench.random.randrange(2000)}"),
                    warm=20,
                    cycle=80,
                    low_rate=15,
                    peak=200,
                )

    return run


def world(clients, summary):
    return World(
        name=f"client-churn-{clients}",
        world="A1",
        summary=f"FastAPI service that calls an API through python-gitlab, {summary}",
        needs=["uvicorn", "python3-fastapi", "python3-gitlab"],
        run=run_arm(clients),
        is_python=True,
    )


WORLDS = [world("one", "one client for all requests"), world("each", "a new client for each request")]
