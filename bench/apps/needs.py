"""Whether what a world needs is there. Packages go by their Debian names."""

import glob
import importlib.util
import os
import shutil

from errors import CannotRun

PROGRAMS = {  # package: the programs wanted of it
    "redis-server": ["redis-server"],
    "redis-tools": ["redis-benchmark"],
    "nginx-light": ["nginx"],
    "memcached": ["memcached"],
    "wrk": ["wrk"],
    "puma": ["puma"],
}
MODULES = {  # package: the Python module wanted of it
    "uvicorn": "uvicorn",
    "python3-fastapi": "fastapi",
    "python3-sqlalchemy": "sqlalchemy",
    "python3-gitlab": "gitlab",
    "python3-flask": "flask",
    "python3-pandas": "pandas",
}
FILES = {"ruby-sinatra": "/usr/share/rubygems-integration/*/gems/sinatra-*/lib/sinatra/base.rb"}  # package: one of it
BUILT = "bench/"  # begins the name of a program that cmake builds with NEAP_BENCH=ON

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # Debian's programs, whatever else comes first on the caller's


def program(name):
    return shutil.which(name, path=PATH)


def is_there(need, programs_directory):
    if need.startswith(BUILT):
        return os.access(os.path.join(programs_directory, need[len(BUILT) :]), os.X_OK)
    if need in PROGRAMS:
        return all(program(name) for name in PROGRAMS[need])
    if need in MODULES:
        return importlib.util.find_spec(MODULES[need]) is not None
    return bool(glob.glob(FILES[need]))


def check(needs, programs_directory):
    missing = [need for need in needs if not is_there(need, programs_directory)]
    built = [need[len(BUILT) :] for need in missing if need.startswith(BUILT)]
    packages = [need for need in missing if not need.startswith(BUILT)]
    if packages:
        raise CannotRun(f"not installed: {' '.join(packages)} (Debian packages; tools/bootstrap bench installs them)")
    if built:
        raise CannotRun(f"not built: {' '.join(built)} in {programs_directory} (cmake with NEAP_BENCH=ON builds it)")
