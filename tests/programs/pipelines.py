"""bash with coreutils and awk on a large file, and tar with xz, gzip and zstd."""

import hashlib
import os
import random

from support import check_equal, test

SCRIPT = r"""
set -eo pipefail
export LC_ALL=C
sort -S 20M --parallel=2 -k2,2 -k1,1n lines > sorted
sha256sum < sorted
awk '{ count[$2]++; sum[$2] += $1 } END { for (w in count) print count[w], sum[w], w }' lines | sort -n | tail -50
cut -d' ' -f2 sorted | uniq -c | sort -rn | sed -n 1,20p
tr a-z A-Z < lines | sed -E 's/([AEIOU])([B-DF-H])/\2\1/g' | grep -v Q | sort -u | md5sum
join -1 2 -2 2 <(uniq -f1 sorted | sed -n 1~2p) <(uniq -f1 sorted) | wc -l
shuf --random-source=lines -n 1000 lines | LC_ALL=C.UTF-8 sort -V | md5sum
declare -A words
while read -r number word; do
    words[$word]+="$number,"
done < <(head -20000 lines)
for word in "${!words[@]}"; do echo "$word ${#words[$word]}"; done | sort | md5sum
for i in $(seq 150); do text+=$(echo "line $i" | tr e E); done
echo "${#text} ${text//E/-}" | md5sum
split -l 20000 lines piece. && cat piece.* | cmp - lines && comm -12 <(sort piece.aa) <(sort piece.aa) | wc -l
"""
ARCHIVE = r"""
set -eo pipefail
tar --sort=name --mtime=@0 --owner=0 --group=0 -cf archive.tar tree
sha256sum < archive.tar
xz -T2 --block-size=2MiB -3 -k archive.tar && xz -9 -c archive.tar.xz | wc -c
xz -dc -T2 archive.tar.xz | cmp - archive.tar
gzip -n -6 < archive.tar | sha256sum
zstd -q -T2 -9 -c archive.tar | sha256sum
mkdir out && tar -xJf archive.tar.xz -C out && diff -r tree out/tree
sha256sum < archive.tar.xz
"""


def run_script(case, text, prepare, sees):
    """Runs it with bash in a directory of its own, with and without neap; answers the output."""
    script = case.write("script.sh", text)
    outputs = []
    for neap in True, False:
        directory = case.path(f"with-neap-{neap}")
        os.mkdir(directory)
        prepare(directory)
        outputs.append(case.run([case.program("bash"), script], neap=neap, cwd=directory, sees=sees).out)
    check_equal(outputs[0], outputs[1], "output")
    return outputs[0]


@test("pipelines.sort", timeout=150, needs=["bash", "sort", "awk"])
def sort(case):
    choose = random.Random(7)
    words = ["".join(choose.choices("abcdefghijklmnopqrstuvwxyz", k=choose.randint(1, 12))) for _ in range(3000)]
    count = case.size(400_000, 2_000_000)
    lines = "".join(f"{choose.randint(1, 10**9)} {choose.choice(words)}\n" for _ in range(count))

    def prepare(directory):
        with open(os.path.join(directory, "lines"), "w") as f:
            f.write(lines)

    output = run_script(case, SCRIPT, prepare, ["bash", "sort", "mawk|gawk|awk"])
    ordered = sorted(lines.splitlines(), key=lambda line: (line.split()[1], int(line.split()[0])))
    digest = hashlib.sha256("".join(line + "\n" for line in ordered).encode()).hexdigest()
    check_equal(output.split()[0], digest, "sort's output")


@test("pipelines.archive", timeout=150, needs=["bash", "tar", "xz", "gzip", "zstd"])
def archive(case):
    def prepare(directory):
        choose = random.Random(11)
        for i in range(case.size(150, 600)):
            path = os.path.join(directory, "tree", f"dir{i % 23}", "below" * (i % 4))
            os.makedirs(path, exist_ok=True)
            with open(os.path.join(path, f"file{i}"), "wb") as f:
                f.write(b"".join(b"%d %d\n" % (n, choose.getrandbits(40)) for n in range(choose.randint(0, 4000))))

    run_script(case, ARCHIVE, prepare, ["bash", "tar", "xz", "zstd"])
