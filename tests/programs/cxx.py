"""Programs in C++ compiled here: exceptions, std::bad_alloc, new-handlers, aligned new; and a plugin that brings
libstdc++ into a C program."""

import os

from support import check_equal, test

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cxx")
FLAGS = ["-g", "-O1", "-fno-builtin", "-pthread", "-Wall"]


def build(case, name, source, *options):
    command = "gcc" if source.endswith(".c") else "g++"
    path = case.path(name)
    case.run([case.program(command), *FLAGS, os.path.join(HERE, source), "-o", path, *options], neap=False)
    return path


def exceptions(case, *options):
    program = build(case, "exceptions", "exceptions.cpp", "-std=c++20", *options)
    output = case.run([program])
    case.run([program], neap=False)  # the test itself is right
    lines = output.out.splitlines()
    check_equal([line.split()[0] for line in lines], ["failures", "aligned", "threads", "containers", "out"], "output")


def plugin(case, *options):
    shared = build(case, "plugin.so", "plugin.cpp", "-std=c++17", "-shared", "-fPIC", *options)
    host = build(case, "host", "host.c", "-ldl")
    output = case.run_both([host, shared])
    check_equal(output, "100 keys of 10, 63\n" * 6, "output")


@test("cxx.exceptions", needs=["g++"])
def exceptions_shared(case):
    exceptions(case)


@test("cxx.exceptions_static_libstdcxx", needs=["g++"])
def exceptions_static(case):
    exceptions(case, "-static-libstdc++", "-static-libgcc")


@test("cxx.plugin", needs=["gcc", "g++"])
def plugin_shared(case):
    plugin(case)


@test("cxx.plugin_static_libstdcxx", needs=["gcc", "g++"])
def plugin_static(case):
    plugin(case, "-static-libstdc++", "-static-libgcc")
