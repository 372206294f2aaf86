"""A stand-in for GitLab's API, of which it knows a project and the list of its issues: gitlab_stub.py PORT"""

import asyncio
import json
import random
import sys

rng = random.Random(1)
PEOPLE = [{"id": n, "username": f"user{n}", "avatar_url": "https://gitlab.example/" + "a" * 60} for n in range(20)]


def issue(project, number):
    return {
        "id": project * 1000 + number,
        "iid": number,
        "project_id": project,
        "title": "t" * rng.randrange(10, 120),
        "description": "d" * rng.randrange(3000),
        "state": rng.choice(["opened", "closed"]),
        "labels": ["l" * rng.randrange(3, 20) for _ in range(rng.randrange(5))],
        "author": rng.choice(PEOPLE),
        "assignees": rng.sample(PEOPLE, rng.randrange(4)),
        "web_url": f"https://gitlab.example/group/project-{project}/-/issues/{number}",
    }


def answer(document, extra=""):
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


PAGES = [
    answer([issue(n, i) for i in range(rng.randrange(5, 60))], "X-Page: 1\r\nX-Total-Pages: 1\r\nX-Per-Page: 100\r\n")
    for n in range(50)
]


class Api(asyncio.Protocol):
    def connection_made(self, transport):
        self._transport, self._pending = transport, b""

    def data_received(self, data):
        self._pending += data
        while b"\r\n\r\n" in self._pending:  # GET requests have no body
            head, _, self._pending = self._pending.partition(b"\r\n\r\n")
            path = head.split()[1].decode().partition("?")[0].split("/")  # /api/v4/projects/N[/issues]
            number = int(path[4])
            if path[-1] == "issues":
                self._transport.write(PAGES[number % len(PAGES)])
            else:
                project = {"id": number, "name": f"project-{number}", "description": "p" * 400, "owner": PEOPLE[0]}
                self._transport.write(answer(project))


async def main():
    server = await asyncio.get_running_loop().create_server(Api, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
