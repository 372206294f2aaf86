"""The allocators that are compared: Debian's where they are installed, neap, and any other library by path."""

import hashlib
import os
import re
import subprocess
from typing import NamedTuple, Optional

from .command import clean_environment
from .errors import BenchError, UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
PROBE = "/bin/true"  # libc itself asks for malloc by name, so any program will do


class Allocator(NamedTuple):
    name: str
    library: Optional[str]  # what is preloaded; None: the system's malloc
    env: dict
    summary: str = ""
    is_variant: bool = False  # another setting of one that is there: not in the quick profile

    def identity(self):
        """What must be the same when a run is resumed or compared."""
        digest = None
        if self.library:
            with open(self.library, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        return {"name": self.name, "library": self.library, "env": self.env, "sha256": digest, "summary": self.summary}

    def variables(self):
        """The environment of a process that shall have it."""
        return {**self.env, "LD_PRELOAD": self.library} if self.library else dict(self.env)


BACKGROUND = {"MALLOC_CONF": "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:1000"}
DEFAULTS = (
    # name, soname, variables, summary, is a variant, Debian package
    ("glibc", None, {}, "glibc's malloc as it comes", False, None),
    ("glibc-arena2", None, {"MALLOC_ARENA_MAX": "2"}, "glibc with MALLOC_ARENA_MAX=2", True, None),
    ("jemalloc", "libjemalloc.so.2", {}, "jemalloc as it comes", False, "libjemalloc2"),
    ("jemalloc-bg", "libjemalloc.so.2", BACKGROUND, "jemalloc, background thread, 1 s decay", True, "libjemalloc2"),
    ("mimalloc", "libmimalloc.so.2", {}, "mimalloc as it comes", False, "libmimalloc2.0"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", {}, "gperftools' tcmalloc", False, "libtcmalloc-minimal4"),
)


def system_libraries():
    """Path by soname, as the loader's cache has them."""
    try:
        listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, errors="replace").stdout
    except OSError:
        return {}
    found = {}
    for line in listing.splitlines():
        name, _, path = line.strip().partition(" => ")
        if path:
            found.setdefault(name.split(" ")[0], path)
    return found


def default_allocators(neap_library):
    """(those that are here, what is missing as sentences)"""
    here, missing = [], []
    libraries = system_libraries()
    for name, soname, env, summary, is_variant, package in DEFAULTS:
        path = libraries.get(soname) if soname else None
        if soname and not path:
            missing.append(f"{name}: {soname} is not installed (Debian package {package})")
        else:
            here.append(Allocator(name, path and os.path.realpath(path), env, summary, is_variant))
    if neap_library:
        here.append(Allocator("neap", os.path.realpath(neap_library), {}, "neap as it comes"))
    else:
        missing.append("neap: no libneap.so found")
    return here, missing


def parse_allocator(text):
    """NAME=PATH[,VARIABLE=VALUE...]; a value may hold commas."""
    name, equals, rest = text.partition("=")
    if not equals or not NAME.fullmatch(name):
        raise UsageError(f"--allocator {text}: it is NAME=PATH[,VARIABLE=VALUE...]")
    path, *settings = re.split(r",(?=[A-Za-z_][A-Za-z0-9_]*=)", rest)
    if "," in path:
        raise UsageError(f"--allocator {text}: '{path.split(',', 1)[1]}' is no VARIABLE=VALUE")
    env = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        env[key] = value
    return Allocator(name, os.path.abspath(path) if path else None, env, text.partition("=")[2])


def check(allocator):
    """Raises BenchError where it would not be the malloc of what is started under it."""
    path = allocator.library
    if path:
        if not os.path.isfile(path):
            raise BenchError(f"allocator {allocator.name}: {path} does not exist")
        if any(c in ":$" or c.isspace() for c in path):
            raise BenchError(f"allocator {allocator.name}: {path}: LD_PRELOAD cannot carry spaces, colons or '$'")
    environment = {**clean_environment(), **allocator.variables(), "LD_BIND_NOW": "1", "LD_DEBUG": "bindings"}
    try:
        done = subprocess.run([PROBE], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"allocator {allocator.name}: {PROBE} does not end under it") from error
    said = done.stderr.decode(errors="replace")
    refusal = re.search(r"object '.*' from (?:LD_PRELOAD|/etc/ld\.so\.preload) cannot be preloaded \((.*)\)", said)
    if refusal:
        raise BenchError(f"allocator {allocator.name}: the loader does not take {path}: {refusal[1]}")
    if done.returncode:
        raise BenchError(f"allocator {allocator.name}: {PROBE} fails under it, exit status {done.returncode}")
    bound_to = set(re.findall(r"binding file \S*libc\.so\.6 \[0\] to (.*) \[0\]: normal symbol `malloc'", said))
    if path and path not in bound_to:
        raise BenchError(f"allocator {allocator.name}: {path} is no allocator: malloc stays that of {one(bound_to)}")
    if not path and not all(os.path.basename(object_path) == "libc.so.6" for object_path in bound_to):
        raise BenchError(f"allocator {allocator.name}: malloc is that of {one(bound_to)} (see /etc/ld.so.preload)")


def one(paths):
    return ", ".join(sorted(paths)) or "nobody"
