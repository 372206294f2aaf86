"""nginx with two workers, which are put under load by wrk, told to reload, and then to end. wrk (with LuaJIT in it)
runs under neap as well."""

import gzip
import hashlib
import os
import re
import signal
import urllib.request

from support import accepts, check, check_equal, command_line, free_port, test

CONFIGURATION = """
daemon off;
worker_processes 2;
error_log {directory}/error.log notice;
pid {directory}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    gzip on;
    gzip_types *;
    gzip_min_length 100;
    server {{
        listen 127.0.0.1:{port};
        root {directory}/www;
        location /proxied/ {{ proxy_pass http://127.0.0.1:{port}/; proxy_buffers 8 16k; }}
        location /text {{ return 200 "$request_method $arg_name\\n"; }}
    }}
}}
"""
FILES = {"small.txt": 300, "page.html": 20_000, "large.bin": 3_000_000}
REPORT = """
done = function(summary, latency, requests)
    local e = summary.errors
    print(string.format("requests %d errors %d", summary.requests, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def get(url, encoding="identity"):
    request = urllib.request.Request(url, headers={"Accept-Encoding": encoding})
    with urllib.request.urlopen(request, timeout=20) as answer:
        body = answer.read()
        return gzip.decompress(body) if answer.headers.get("Content-Encoding") == "gzip" else body


def workers(server):
    return [pid for pid in server.processes()[1:] if "worker process" in command_line(pid)]


@test(timeout=120, needs=["nginx", "wrk"])
def nginx(case):
    port = free_port()
    os.mkdir(case.path("www"))
    contents = {}
    for name, size in FILES.items():
        seed = hashlib.sha256(name.encode()).hexdigest().encode()
        contents[name] = b"".join(b"%d %s\n" % (i, seed[:i % 50]) for i in range(size // 20))
        with open(case.path("www", name), "wb") as f:
            f.write(contents[name])
    configuration = case.write("nginx.conf", CONFIGURATION.format(directory=case.directory, port=port))
    report = case.write("report.lua", REPORT)
    argv = [case.program("nginx"), "-p", case.directory, "-e", case.path("error.log"), "-c", configuration]
    url = f"http://127.0.0.1:{port}/"

    def load(path, *options):
        seconds = case.size(2, 10)
        # By itself wrk calls an answer that takes two seconds an error; a busy machine may take them.
        done = case.run([case.program("wrk"), "-t", "2", "-d", f"{seconds}s", "--timeout", "20s", "-s", report, *options,
                         url + path])
        found = re.search(r"requests (\d+) errors (\d+)", done.out)
        check(found is not None and int(found[1]) > 100 and found[2] == "0", f"wrk on {path}", done.out)

    def check_contents():
        for name, content in contents.items():
            for prefix in "", "proxied/":
                for encoding in "identity", "gzip":
                    check(get(url + prefix + name, encoding) == content, f"{prefix}{name} ({encoding}) is damaged")
        check_equal(get(url + "text?name=neap"), b"GET neap\n", "a made-up page")

    with case.start(argv, accepts(port), stop=signal.SIGQUIT, report=case.path("error.log")) as server:
        check(server.wait_for(lambda: len(workers(server)) == 2), "there are not two workers", server.log())
        first = workers(server)
        server.check_takeover()
        check_contents()
        load("page.html", "-c", "40", "-H", "Accept-Encoding: gzip")
        load("proxied/small.txt", "-c", "40")
        load("small.txt", "-c", "200")
        server.process.send_signal(signal.SIGHUP)
        check(server.wait_for(lambda: len(workers(server)) == 2 and not set(first) & set(workers(server))),
              "no new workers after a reload", server.log())
        server.check_takeover()
        check_contents()
        load("large.bin", "-c", "10")
    with open(case.path("error.log")) as f:
        log = f.read()
    check(not re.search(r"\[(emerg|alert|crit)\]|exited on signal", log), "nginx: bad news in error.log", log)
