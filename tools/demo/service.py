#!/usr/bin/python3
"""A small service's day in a few seconds: a burst of JSON requests, 1 % of which leave something behind, then silence.

Every request parses a JSON body into dicts, computes on them and serialises an answer. At the peak all are in flight,
as behind a slow database; then they finish in random order, and a random 1 % stay in a session store. After that no
thread does anything. Progress goes to stdout, one JSON object a line.
"""

import argparse
import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

SURVIVORS = 0.01
DRAIN_STEPS = 20


def make_bodies(rng, count=64):
    """JSON request bodies of mixed sizes: most are small, some large."""
    bodies = []
    for number in range(count):
        items = [
            {
                "sku": f"{rng.randrange(10**9):09d}",
                "title": "t" * rng.randrange(8, 90),
                "price": rng.randrange(100, 100_000) / 100,
                "quantity": rng.randrange(1, 9),
                "options": {"colour": rng.choice("rgbk") * rng.randrange(3, 20), "gift": rng.random() < 0.1},
                "tags": ["x" * rng.randrange(3, 30) for _ in range(rng.randrange(5))],
            }
            for _ in range(min(200, int(rng.lognormvariate(3.2, 0.8)) + 1))
        ]
        user = {"name": "n" * rng.randrange(5, 40), "address": ["a" * rng.randrange(10, 60) for _ in range(3)]}
        bodies.append(json.dumps({"id": number, "user": user, "items": items, "note": "c" * rng.randrange(4000)}))
    return bodies


def parse_request(bodies, number):
    """What request `number` builds: fresh objects each time, the same for the same number."""
    document = json.loads(bodies[number % len(bodies)])
    document["id"] = number
    for item in document["items"]:
        item["total"] = round(item["price"] * item["quantity"], 2)
        item["key"] = f"{number}/{item['sku']}"
    return document


def choose_survivors(rng, requests):
    return set(rng.sample(range(requests), round(requests * SURVIVORS)))


def deep_size(value, seen):
    """Bytes held by a JSON-like value, by sys.getsizeof."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        size += sum(deep_size(k, seen) + deep_size(v, seen) for k, v in value.items())
    elif isinstance(value, list):
        size += sum(deep_size(element, seen) for element in value)
    return size


class Service:
    def __init__(self, requests, threads, seed):
        rng = random.Random(seed)
        self.requests = requests
        self.bodies = make_bodies(rng)
        self.survivors = choose_survivors(rng, requests)
        self.finishing_order = rng.sample(range(requests), requests)
        self.in_flight = {}
        self.sessions = {}
        self.workers = ThreadPoolExecutor(threads)

    def _handle(self, numbers):
        for number in numbers:
            document = parse_request(self.bodies, number)
            answer = json.dumps(document)
            assert json.loads(answer) == document  # short-lived work among the long-lived, as validation is
            self.in_flight[number] = (document, answer)

    def _finish(self, numbers):
        for number in numbers:
            document, _answer = self.in_flight.pop(number)
            if number in self.survivors:
                self.sessions[number] = document

    def burst(self):
        chunks = [range(start, min(start + 10, self.requests)) for start in range(0, self.requests, 10)]
        for _ in self.workers.map(self._handle, chunks):
            pass

    def drain(self, seconds):
        for step in range(DRAIN_STEPS):
            for _ in self.workers.map(self._finish, [self.finishing_order[step::DRAIN_STEPS]]):
                pass
            time.sleep(seconds / DRAIN_STEPS)

    def intact(self):
        """Whether the session store holds exactly the chosen survivors, unharmed."""
        return self.sessions.keys() == self.survivors and all(
            document == parse_request(self.bodies, number) for number, document in self.sessions.items()
        )

    def close(self):
        self.workers.shutdown()


def report(**fields):
    print(json.dumps(fields), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drain", type=float, default=1, help="seconds over which requests finish (default 1)")
    parser.add_argument("--silence", type=float, default=6, help="seconds (default 6)")
    options = parser.parse_args()

    service = Service(options.requests, options.threads, options.seed)
    report(phase="start")
    time.sleep(0.5)
    report(phase="burst")
    service.burst()
    time.sleep(0.3)
    report(phase="drained")
    service.drain(options.drain)
    report(phase="silent")
    time.sleep(options.silence)
    report(phase="end")
    seen = set()
    report(
        requests=options.requests,
        kept=len(service.sessions),
        kept_bytes=sum(deep_size(document, seen) for document in service.sessions.values()),
        intact=service.intact(),
    )
    service.close()


if __name__ == "__main__":
    main()
