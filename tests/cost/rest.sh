#!/bin/bash
# usage: tests/cost/rest.sh LIB
# What LIB, a libneap.so, costs a process that does next to nothing, and threads that block. Prints the figures; fails
# where one is above its bound. Medians of several runs, threads two seconds after their work.
set -euo pipefail
export LC_ALL=C

max_process=256       # KiB that a small program has more than under glibc
max_idle_thread=1024  # bytes for a thread that has allocated nothing
max_thread=$((24 << 10)) # bytes for a thread that has allocated and freed, beyond its objects
max_scope=4096        # bytes for an open scope with 20 small objects, beyond 1.5 times what was asked for
threads=200

(($# == 1)) || { sed -n 's/^# usage: //p' "$0" >&2; exit 2; }
[[ -f $1 ]] || { echo "$1: no such file" >&2; exit 2; }
lib=$(cd -- "$(dirname -- "$1")" && pwd -P)/$(basename -- "$1")
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/neap-rest.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
unset LD_PRELOAD NEAP_OPTIONS MALLOC_ARENA_MAX GLIBC_TUNABLES

cc=${CC:-cc}
"$cc" -O2 -Wall -Wextra "$here/rest.c" -o "$work/rest"
"$cc" -O2 -Wall -Wextra -pthread "$here/threads.c" -o "$work/threads"
"$cc" -O2 -Wall -Wextra -I"$here/../../include" "$here/scopes.c" "$lib" -o "$work/scopes"

passed=0 failed=0
# at_most NAME FIGURE BOUND UNIT
at_most() {
  if (($2 <= $3)); then
    echo "ok    $1: $2 $4, may be $3"
    passed=$((passed + 1))
  else
    echo "FAIL  $1: $2 $4, may be $3"
    failed=$((failed + 1))
  fi
}

# median FIELD PRELOAD COMMAND...: in KiB, of what the command prints. Fields: Rss and Pss as they are; Anonymous: pages
# of the process's own; Own: those, and the pages of libneap.so. The rest of Rss is pages of libc and the like, which
# every process maps. How many of them varies from run to run by 100 KiB: a fault maps 64 KiB of the file around it.
median() {
  local field=$1 preload=$2 i
  shift 2
  for ((i = 0; i < runs; i++)); do
    env LD_PRELOAD="$preload" "$@" | awk -v field="$field" -v resolved="$(readlink -f -- "$lib")" '
      /^[0-9a-f]+-[0-9a-f]+ / { ours = index($0, resolved) > 0 }
      $1 == "Rss:" { sum["Rss"] += $2; rss = $2 }
      $1 == "Pss:" { sum["Pss"] += $2 }
      $1 == "Anonymous:" { sum["Anonymous"] += $2; sum["Own"] += ours ? rss : $2 }
      END { print sum[field] }'
  done | sort -n | sed -n "$((runs / 2 + 1))p"
}

# A library that the loader cannot preload is skipped with a warning, and everything would be measured twice over glibc.
loaded=$(env LD_PRELOAD="$lib" NEAP_OPTIONS=stats_exit:on "$work/rest" 2>&1 >/dev/null)
if [[ -z $loaded || $loaded == *ERROR* ]]; then
  echo "FAIL  $lib is not what serves malloc: $loaded"
  echo "0 passed, 1 failed"
  exit 1
fi

runs=5
for field in Rss Pss Own; do
  glibc=$(median $field "" "$work/rest") neap=$(median $field "$lib" "$work/rest")
  echo "      a small program: $field $glibc KiB under glibc, $neap KiB under neap"
done
at_most "a small program, own memory more than under glibc" $((neap - glibc)) $max_process KiB

runs=3
# Stacks and what the C library has for a thread are in both figures and cancel out. So does what one thread costs once.
none=$(median Anonymous "" "$work/threads" 1 idle)
many=$(median Anonymous "" "$work/threads" $threads idle)
neap_none=$(median Anonymous "$lib" "$work/threads" 1 idle)
neap_many=$(median Anonymous "$lib" "$work/threads" $threads idle)
echo "      1 and $threads idle threads: Anonymous $none and $many KiB under glibc, $neap_none and $neap_many KiB under neap"
at_most "a thread that has done nothing, more than under glibc" \
  $((((neap_many - neap_none) - (many - none)) * 1024 / (threads - 1))) $max_idle_thread bytes

worked=$(median Anonymous "" "$work/threads" $threads work)
neap_worked=$(median Anonymous "$lib" "$work/threads" $threads work)
echo "      $threads threads after work: Anonymous $worked KiB under glibc ($(((worked - many) * 1024 / threads)) bytes a thread)," \
  "$neap_worked KiB under neap"
at_most "a thread that allocated and freed 1000 small objects" \
  $(((neap_worked - neap_many) * 1024 / threads)) $max_thread bytes

at_most "an open scope with 20 small objects, beyond 1.5 times what was asked for" \
  "$(LD_LIBRARY_PATH=${lib%/*} "$work/scopes")" $max_scope bytes

echo "$passed passed, $failed failed"
((failed == 0))
