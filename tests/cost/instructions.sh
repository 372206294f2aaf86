#!/bin/bash
# usage: tests/cost/instructions.sh [--update] LIB
# How many instructions the paths take that an allocation or a free nearly always takes, in LIB, a libneap.so: counted
# by callgrind, as a loop of calls less a loop without them. Compared with instructions.txt, which is of the release
# build by gcc on x86-64; --update writes it.
set -euo pipefail
export LC_ALL=C

tolerance=2 count=100000

update=0
[[ ${1-} != --update ]] || { update=1; shift; }
(($# == 1)) || { sed -n 's/^# usage: //p' "$0" >&2; exit 2; }
[[ -f $1 ]] || { echo "$1: no such file" >&2; exit 2; }
lib=$(cd -- "$(dirname -- "$1")" && pwd -P)/$(basename -- "$1")
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
golden=$here/instructions.txt
work=$(mktemp -d "${TMPDIR:-/tmp}/neap-instructions.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
unset LD_PRELOAD NEAP_OPTIONS

# Without -fno-plt the linker's stubs would be counted too.
"${CXX:-c++}" -std=c++17 -O2 -fno-builtin -fno-plt -Wall -Wextra -I"$here/../../include" "$here/pairs.cpp" \
  -o "$work/pairs" -ldl

# instructions NAME: of the whole run. The heap's base goes to $work/base.
instructions() {
  env LD_PRELOAD="$lib" valgrind --tool=callgrind --callgrind-out-file=/dev/null "$work/pairs" "$1" "$count" \
    >"$work/base" 2>"$work/log" || { cat "$work/log" >&2; return 1; }
  sed -n 's/^==[0-9]*== Collected : \([0-9]*\)$/\1/p' "$work/log"
}

passed=0 failed=0
ok() { echo "ok    $1"; passed=$((passed + 1)); }
bad() { echo "FAIL  $1"; failed=$((failed + 1)); }

nothing=$(instructions empty)
base=$(<"$work/base")
if ((base == 0)); then
  bad "under valgrind, malloc is not that of $lib"
  echo "$passed passed, $failed failed"
  exit 1
fi
echo "      the heap lies at $(printf '%#x' "$base") under valgrind"

: >"$work/counts"
while read -r name expected; do
  whole=$(instructions "$name")
  n=$(((whole - nothing + count / 2) / count))
  echo "$name $n" >>"$work/counts"
  if ((n > expected + tolerance)); then
    bad "$name: $n instructions, may be $expected + $tolerance"
  elif ((n < expected - tolerance)); then
    ok "$name: $n instructions, expected $expected (fewer: --update instructions.txt)"
  else
    ok "$name: $n instructions, expected $expected"
  fi
done <"$golden"
((passed + failed > 0)) || bad "nothing in $golden"

if ((update)); then
  cp -- "$work/counts" "$golden"
  echo "written to $golden"
  exit 0
fi
echo "$passed passed, $failed failed"
((failed == 0))
