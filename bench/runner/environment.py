"""What a measurement depends on beside the programs: the machine and its settings."""

import datetime
import os
import platform
import re
import subprocess


def first_line(path, default=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return default


def field_of(path, key):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.search(rf"^{key}\s*[:=]\s*\"?([^\"\n]*)", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""


def chosen(path):
    """Of a file that lists its values with the one that holds in brackets."""
    found = re.search(r"\[(.*)\]", first_line(path))
    return found[1] if found else "not known"


def package_of(path):
    """The Debian package that brought a file, with its version, else None."""
    for name in (path, path.removeprefix("/usr")):
        try:
            owner = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True).stdout.split(": ")[0]
            if owner:
                version = ["dpkg-query", "-W", "-f", "${Package} ${Version}", owner]
                return subprocess.run(version, capture_output=True, text=True).stdout or None
        except OSError:
            return None
    return None


def describe():
    memory = field_of("/proc/meminfo", "MemTotal").split()
    swap = field_of("/proc/meminfo", "SwapTotal").split()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": field_of("/proc/cpuinfo", "model name") or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mb": round(int(memory[0]) * 1024 / 1e6) if memory else None,
        "swap_mb": round(int(swap[0]) * 1024 / 1e6) if swap else None,
        "kernel": platform.release(),
        "system": field_of("/etc/os-release", "PRETTY_NAME"),
        "libc": os.confstr("CS_GNU_LIBC_VERSION"),
        "page_size": os.sysconf("SC_PAGE_SIZE"),
        "huge_pages": chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
        "overcommit": first_line("/proc/sys/vm/overcommit_memory"),
        "governor": first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "not known"),
        "python": platform.python_version(),
    }
