"""nginx with static files: a control, as it pools for itself."""

import json
import os

from bench import World
from errors import Failed
from needs import program

FILES = 64
CONFIGURATION = """
daemon off;
master_process off;  # one process, so that it is the one that is measured
pid nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path temporary;
  proxy_temp_path temporary;
  fastcgi_temp_path temporary;
  uwsgi_temp_path temporary;
  scgi_temp_path temporary;
  server {{ listen 127.0.0.1:{port} backlog=1024; root files; sendfile on; keepalive_requests 100000; }}
}}
"""
# Every file in turn; the result as JSON, with latencies in microseconds.
WRK_SCRIPT = """
local number = 0
request = function()
  number = (number + 7) % {files}
  return wrk.format("GET", "/" .. number)
end
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\n{{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"errors":%d}}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def write(bench, name, text):
    path = os.path.join(bench.directory, name)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return path


def run(bench):
    port = bench.port()
    for name in ("files", "temporary"):
        os.mkdir(os.path.join(bench.directory, name), 0o755)
    for number in range(FILES):
        write(bench, f"files/{number}", "x" * int(bench.random.lognormvariate(9, 1.3)))
    configuration = write(bench, "nginx.conf", CONFIGURATION.format(port=port))
    script = write(bench, "wrk.lua", WRK_SCRIPT.format(files=FILES))

    def load(seconds, connections):
        """wrk counts in whole seconds."""
        seconds = max(1, round(seconds))
        argv = [program("wrk"), "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", script]
        with bench.helper("wrk", [*argv, f"http://127.0.0.1:{port}/"], output=True) as wrk:
            while wrk.process.poll() is None:
                server.check_alive()
                bench.sleep(0.02)
            output = wrk.process.stdout.read().decode(errors="replace")
            if wrk.process.returncode != 0:
                server.check_alive(grace=1)
                raise Failed(f"wrk failed, {wrk.how_it_ended()}{wrk.last_words()}")
        answer = json.loads(output.strip().splitlines()[-1])
        if answer["errors"]:
            server.check_alive(grace=1)
            raise Failed(f"nginx-static: {answer['errors']} requests failed")
        return answer

    def peak():
        answer = load(bench.profile.factor * 2 * min(1, bench.scale), bench.count(50))
        bench.note_requests(answer["requests"], answer["microseconds"] / 1e6)
        bench.note(p50_ms=answer["p50"] / 1e3, p99_ms=answer["p99"] / 1e3)

    argv = [program("nginx"), "-p", bench.directory, "-c", configuration, "-e", "stderr"]
    with bench.serve(argv, port) as server:
        bench.course(
            warm=lambda: load(1, 2),
            cycle=lambda: load(bench.profile.factor / 2, bench.count(20)),
            low=lambda: bench.sleep(bench.profile.low_seconds),
            peak=peak,
        )


WORLDS = [
    World(
        name="nginx-static",
        world="A7",
        summary="nginx with static files (a control: it pools for itself)",
        needs=["nginx-light", "wrk"],
        run=run,
    )
]
