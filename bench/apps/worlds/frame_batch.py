"""A pandas worker: big frames and their intermediates, made and dropped."""

import time

from bench import PYTHON, SERVERS, World


def run(bench):
    def batches(count, rows):
        """Of sizes around `rows`."""
        started, latencies, until = time.monotonic(), [], bench.until()
        for _ in range(count):
            if time.monotonic() > until:
                bench.note_cut()
                break
            sent = time.monotonic()
            size = max(10, int(rows * bench.random.lognormvariate(0, 0.5)))
            server.ask(rows=size, seed=bench.random.randrange(2**32))
            latencies.append(time.monotonic() - sent)
        bench.note_requests(len(latencies), time.monotonic() - started, latencies, unit="batches/s")

    def low():
        batches(1, bench.scaled(2000))
        bench.sleep(bench.profile.low_seconds)

    with bench.serve([PYTHON, f"{SERVERS}/frame_batch.py"], pipes=True) as server:
        bench.course(
            warm=lambda: batches(2, bench.scaled(5000)),
            cycle=lambda: batches(bench.count(5), bench.scaled(30_000)),
            low=low,
            peak=lambda: batches(2, bench.scaled(300_000)),
        )


WORLDS = [
    World(
        name="frame-batch",
        world="A4",
        summary="pandas batches: big frames and their intermediates are freed",
        needs=["python3-pandas"],
        run=run,
        is_python=True,
    )
]
