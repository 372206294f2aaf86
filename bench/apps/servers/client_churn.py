"""A service that calls another's API for each request: with one client for all, or with a new client each time, as
CLIENTS says. Answers are cached for some seconds."""

import os
import threading
import time

import gitlab
from fastapi import FastAPI

TIME_TO_LIVE = 2  # seconds
app = FastAPI()
cache = {}  # by project: (when it expires, the answer)
lock = threading.Lock()


def make_client():
    return gitlab.Gitlab(os.environ["STUB"], private_token="token of no account")


shared = make_client() if os.environ["CLIENTS"] == "one" else None


def summarise(number):
    client = shared or make_client()
    project = client.projects.get(number)
    issues = project.issues.list(page=1, per_page=100)
    opened = [issue.attributes for issue in issues if issue.state == "opened"]
    return {"project": project.attributes, "opened": opened, "closed": len(issues) - len(opened)}


@app.get("/summary/{number}")
def summary(number: int):  # in a worker thread: the client blocks
    now = time.monotonic()
    with lock:
        for key in [key for key, (expires, _) in cache.items() if expires < now]:
            del cache[key]
        if number in cache:
            return cache[number][1]
    answer = summarise(number)
    with lock:
        cache[number] = (now + TIME_TO_LIVE, answer)
    return answer
