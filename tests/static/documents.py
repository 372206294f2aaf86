"""usage: tests/static/documents.py [TREE]

Whether man pages are well formed and each function of a scope has one, and whether what docs/scopes.md quotes from a file
is in it, and where it links to is there.
"""

import os
import re
import subprocess
import sys

if len(sys.argv) > 2:
    sys.exit(__doc__)
TREE = sys.argv[1] if len(sys.argv) == 2 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DOCUMENT = "docs/scopes.md"
passed = failed = 0


def check(name, good, why=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"ok    {name}" if good else f"FAIL  {name}: {why}")


def read(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as file:
        return file.read()


def squeezed(text):
    """Its lines without indentation; an excerpt may lie further left."""
    return [line.strip() for line in text.strip().splitlines()]


def contains(lines, part):
    return any(lines[at : at + len(part)] == part for at in range(len(lines)))


def check_man_pages():
    folder = os.path.join(TREE, "docs/man")
    documented = set()
    for name in sorted(os.listdir(folder)):
        lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", name], cwd=folder, capture_output=True, text=True)
        check(f"man page: {name}", lint.returncode == 0, lint.stdout + lint.stderr)
        documented |= set(re.findall(r"^\.Nm (neap_\w+)", read(f"docs/man/{name}"), re.MULTILINE))
    exported = set(re.findall(r"neap_(?:scope|exempt)_\w+", read("alloc/neap.map")))
    check("man pages: functions of scopes are exported", exported, "none in alloc/neap.map")
    check("man pages: one for each function of scopes", exported == documented, sorted(exported ^ documented))


def check_quotations():
    text = read(DOCUMENT)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    for link in sorted(set(filter(None, links))):
        check(f"{DOCUMENT}: links to {link}", os.path.exists(os.path.join(TREE, "docs", link)), "not there")
    # From [`FILE`](FILE): and a block of code
    quotations = re.findall(r"^From \[`([^`]+)`\][^\n]*:\n\n```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    check(f"{DOCUMENT}: quotes", len(quotations) >= 3, f"only {len(quotations)} quotations found")
    for file, quotation in quotations:
        lines = squeezed(read(os.path.join("docs", file)))
        for part in quotation.split("\n…\n"):  # what is left out
            check(f"{DOCUMENT}: quotes {file}", contains(lines, squeezed(part)), f"does not hold\n{part}")


check_man_pages()
check_quotations()
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
