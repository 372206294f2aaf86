"""stress-ng's stressors of malloc, with its checks of what was allocated (--verify)."""

from support import check, test

# Stressor, its options, and operations by default and with --long. Their sizes bound the memory.
STRESSORS = [
    ("malloc", ["--malloc-bytes", "16M", "--malloc-max", "2000"], 300_000, 10_000_000),
    ("malloc", ["--malloc-bytes", "2K", "--malloc-max", "60000", "--malloc-pthreads", "3", "--malloc-touch"], 1_000_000,
     30_000_000),
    ("malloc", ["--malloc-bytes", "200K", "--malloc-zerofree", "--malloc-touch", "--malloc-max", "1000"], 40_000,
     500_000),
    ("heapsort", ["--heapsort-size", "100000"], 20, 500),
    ("bigheap", ["--bigheap-growth", "256K"], 2_000, 20_000),
    ("brk", ["--brk-notouch"], 100_000, 2_000_000),
    ("hsearch", ["--hsearch-size", "8192"], 300, 10_000),
    ("tsearch", ["--tsearch-size", "65536"], 10, 100),
    ("list", [], 40, 500),
    ("tree", ["--tree-size", "50000"], 3, 50),
]


@test(timeout=200, needs=["stress-ng"])
def stress_ng(case):
    for name, options, few, many in STRESSORS:
        argv = [case.program("stress-ng"), f"--{name}", "2", f"--{name}-ops", str(case.size(few, many)), *options,
                "--verify", "--timeout", f"{case.size(15, 120)}s", "--oomable", "--temp-path", case.directory]
        done = case.run(argv, sees=["stress-ng"], timeout=150)
        said = done.out + done.err
        check("successful run completed" in said and "fail:" not in said, f"stress-ng {name}", said)
