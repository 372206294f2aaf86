"""A small service's day in a few seconds: bursts of JSON requests, 1 % of which leave something behind.

Every request parses a JSON body into dicts, computes on them and serialises an answer. In a burst all are in flight at
once, as behind a slow database; then they finish in random order, and a random 1 % stay in a session store. A line of
JSON on stdin asks for a burst, or to finish what is in flight; at the end of stdin it exits.
"""

import argparse
import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor

SURVIVORS = 0.01
THREADS = 4
CHUNK = 10


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


class Service:
    def __init__(self, seed):
        self._random = random.Random(seed)
        self._bodies = make_bodies(self._random)
        self._workers = ThreadPoolExecutor(THREADS)
        self._next = 0
        self.in_flight, self.sessions, self._survivors = {}, {}, set()

    def _parse(self, number):
        """What request `number` builds: fresh objects each time, the same for the same number."""
        document = json.loads(self._bodies[number % len(self._bodies)])
        document["id"] = number
        for item in document["items"]:
            item["total"] = round(item["price"] * item["quantity"], 2)
            item["key"] = f"{number}/{item['sku']}"
        return document

    def _handle(self, numbers):
        for number in numbers:
            document = self._parse(number)
            answer = json.dumps(document)
            assert json.loads(answer) == document  # short-lived work among the long-lived, as validation is
            self.in_flight[number] = (document, answer)

    def _finish(self, numbers):
        for number in numbers:
            document, _answer = self.in_flight.pop(number)
            if number in self._survivors:
                self.sessions[number] = document

    def burst(self, requests):
        numbers = range(self._next, self._next + requests)
        self._next += requests
        self._survivors.update(self._random.sample(numbers, round(requests * SURVIVORS)))
        list(self._workers.map(self._handle, (numbers[n : n + CHUNK] for n in range(0, requests, CHUNK))))

    def finish(self):
        order = self._random.sample(sorted(self.in_flight), len(self.in_flight))
        list(self._workers.map(self._finish, (order[n : n + CHUNK] for n in range(0, len(order), CHUNK))))

    def intact(self):
        """Whether the session store holds exactly the chosen survivors, unharmed."""
        return self.sessions.keys() == self._survivors and all(
            document == self._parse(number) for number, document in self.sessions.items()
        )


def say(**fields):
    print(json.dumps(fields), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    service = Service(parser.parse_args().seed)
    say(ready=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "burst":
            service.burst(command["requests"])
            say(in_flight=len(service.in_flight))
        elif command["do"] == "finish":
            service.finish()
            say(kept=len(service.sessions))
        else:
            say(intact=service.intact())


if __name__ == "__main__":
    main()
