#!/bin/bash
# The tests of what lies in tools/, as one suite: tests/tools/run.sh --neap PATH --library PATH
here=$(dirname -- "${BASH_SOURCE[0]}")
passed=0 failed=0
run() {
  local log status=0 ran bad
  log=$(/usr/bin/python3 "$@" 2>&1) || status=$?
  echo "$log"
  ran=$(sed -nE 's/^Ran ([0-9]+) tests.*/\1/p' <<<"$log")
  bad=$(sed -nE 's/^FAILED \((.*)\)$/\1/p' <<<"$log" | grep -oE '(failures|errors)=[0-9]+' | cut -d= -f2 | awk '{n += $1} END {print n + 0}')
  bad=${bad:-0}
  ((status == 0 || bad > 0)) || bad=1
  passed=$((passed + ${ran:-0} - bad)) failed=$((failed + bad))
}
arguments=()
while (($#)); do
  case $1 in
  --neap | --library) arguments+=("$1" "$(realpath "$2")"); shift 2 ;;
  *) echo "usage: run.sh --neap PATH --library PATH" >&2; exit 2 ;;
  esac
done
run "$here/neap_tool_test.py" "${arguments[@]}"
echo "$passed passed, $failed failed"
((failed == 0))
