"""git: a repository of some hundred commits with branches and merges, cloned, packed anew and checked. Its
commits and its log must be the same as under glibc."""

import os

from support import check, check_equal, test

WHO = "A U Thor <author@example.com>"
SETTINGS = ["gc.auto=0", "user.name=A U Thor", "user.email=author@example.com", "pack.threads=2", "core.fsync=none",
            "protocol.file.allow=always", "init.defaultBranch=main"]


def stream(commits):
    """A history for fast-import: files that grow and change, and a branch that is merged now and then."""
    parts = []

    def data(text):
        return f"data {len(text.encode())}\n{text}\n"

    for i in range(commits):
        branch = "side" if i % 7 == 3 and i > 10 else "main"
        parts.append(f"commit refs/heads/{branch}\nmark :{i + 1}\nauthor {WHO} {1_600_000_000 + i * 60} +0000\n"
                     f"committer {WHO} {1_600_000_000 + i * 60} +0000\n" + data(f"Commit {i}\n\n{'why ' * (i % 40)}"))
        if branch == "side":
            parts.append("from refs/heads/main\n" if i < 20 else f"from :{i}\n")
        elif i % 7 == 4 and i > 10:
            parts.append(f"from :{i - 1}\nmerge :{i}\n")
        for j in range(3):
            name = f"dir{(i + j) % 17}/file{(i * 5 + j) % 101}"
            numbers = [n * i % 97 if n % 10 == i % 10 else n for n in range(50 + i % 200)]
            lines = "".join(f"line {n} of {name} {number}\n" for n, number in enumerate(numbers))
            parts.append(f"M 100644 inline {name}.txt\n" + data(lines))
        history = "".join(f"commit {n} was here\n" for n in range(i + 1))
        parts.append("M 100644 inline history.txt\n" + data(history))
    return "".join(parts)


def work(case, name, neap, history):
    """Everything done in a directory of its own; answers what git said that must not depend on the malloc."""
    directory = case.path(name)
    os.mkdir(directory)
    settings = [word for setting in SETTINGS for word in ("-c", setting)]
    date = {"GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000"}

    def git(*arguments, **options):
        done = case.run([case.program("git"), *settings, *arguments], neap=neap, env=date,
                        **{"cwd": directory + "/repository", **options})
        return done.out

    git("init", "-q", "repository", cwd=directory)
    git("fast-import", "--quiet", input=history)
    git("checkout", "-q", "main")
    for i in range(12):
        with open(f"{directory}/repository/dir{i}/new.txt", "w") as f:
            f.write(f"new {i}\n" * 100)
        git("add", "-A")
        git("commit", "-q", "-m", f"By hand {i}")
    git("merge", "-q", "-m", "Merge", "-s", "ours", "side")
    git("gc", "--quiet", "--aggressive", sees=["git"])
    git("clone", "-q", f"file://{directory}/repository", "clone", cwd=directory, sees=["git"])
    clone = {"cwd": directory + "/clone"}
    git("repack", "-q", "-adf", "--depth=20", **clone)
    said = [git("fsck", "--full", "--strict", **clone), git("rev-parse", "HEAD", **clone),
            git("log", "--stat", "--format=%H %P %an %ad%n%B", **clone),
            git("log", "-p", "-M", "--format=%H", "-60", **clone), git("blame", "history.txt", **clone),
            git("grep", "-c", "line 1[0-9] of", **clone), git("diff", "--stat", "HEAD~40", **clone),
            git("status", "--porcelain", **clone)]
    return "".join(said)


@test(timeout=200, needs=["git"])
def git(case):
    commits = case.size(400, 1500)
    history = case.write("history", stream(commits))
    under_neap = work(case, "neap", True, history)
    check(under_neap.count("Commit ") > commits / 2, "git: commits are missing from the log", under_neap)
    check_equal(under_neap, work(case, "glibc", False, history), "git: output")
