#!/bin/bash
# usage: tests/model/run.sh
# Lets spin visit every history of the models: none may go wrong as it is, and some must with any one step left out.
set -uo pipefail
export LC_ALL=C

(($# == 0)) || { sed -n 's/^# usage: //p' "$0" >&2; exit 2; }
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/neap-model.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
cd -- "$work"

passed=0 failed=0
ok() { echo "ok    $1"; passed=$((passed + 1)); }
bad() { echo "FAIL  $1"; sed 's/^/      | /' log; failed=$((failed + 1)); }

# search OPTIMIZATION FLAG…: in $model; log says what became of it.
search() {
  local optimization=$1
  shift
  rm -f pan pan.*
  spin -a "$@" "$model" >log 2>&1 &&
    "${CC:-cc}" "$optimization" -w -DSAFETY -DCOLLAPSE -o pan pan.c >log 2>&1 &&
    timeout 300 ./pan -m100000 >log 2>&1
}

holds() { # NAME FLAG…: in more than $least_states states: with fewer, much of $model was left out
  local name=$1 states
  shift
  search -O2 "$@"
  states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' log)
  if grep -q 'errors: 0$' log && ! grep -qE 'max search depth too small|not completed' log &&
    ((${states:-0} > least_states)); then
    ok "$name: $states states"
  else
    bad "$name"
  fi
}

fails() { # NAME FLAG…
  local name=$1
  shift
  search -O0 "$@" # found soon: compiling is what takes time
  if grep -q 'assertion violated' log; then ok "$name goes wrong"; else bad "$name does not go wrong"; fi
}

# leave_out_steps LEAST: each that $model lists, of which there are at least so many.
leave_out_steps() {
  local step count=0
  for step in $(sed -n 's/^ \*   \([A-Z_0-9]*\)  .*/\1/p' "$model"); do
    fails "without a step: $step" -D"$step"
    count=$((count + 1))
  done
  ((count >= $1)) || bad "the steps to leave out are not found in $model"
}

model=$here/revoke.pml least_states=10000
holds "stores in order" -DOPERATIONS=4
holds "stores in order, three slots" -DOPERATIONS=4 -DROOM=3 -DOBJECTS=4
holds "stores in order, two classes" -DOPERATIONS=3 -DCLASSES=2
holds "stores and loads out of order" -DOPERATIONS=3 -DWEAK
leave_out_steps 12

model=$here/owned_lock.pml least_states=1000
holds "a lock with an owner"
leave_out_steps 6

echo "$passed passed, $failed failed"
((failed == 0))
