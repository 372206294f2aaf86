#!/bin/bash
# usage: tests/static/exports.sh LIB
# What LIB, a libneap.so, and the archives beside it show to the outside: names and their versions (exports.txt, sorted
# in the C locale), what the library needs and how it is linked, what it costs where it is loaded.
set -euo pipefail
export LC_ALL=C

(($# == 1)) || { sed -n 's/^# usage: //p' "$0" >&2; exit 2; }
lib=$1
[[ -f $lib ]] || { echo "$lib: no such file" >&2; exit 2; }
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
directory=$(dirname -- "$lib")
work=$(mktemp -d "${TMPDIR:-/tmp}/neap-exports.XXXXXX")
trap 'rm -rf -- "$work"' EXIT

max_stripped=$((200 << 10)) # bytes
max_tls=128                 # bytes a thread

passed=0 failed=0
# check NAME COMMAND...: the command's status decides; its output is shown where it fails.
check() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    echo "ok    $name"
    passed=$((passed + 1))
  else
    echo "FAIL  $name"
    sed 's/^/      | /' "$work/log"
    failed=$((failed + 1))
  fi
}

at_most() {
  echo "$1, may be at most $2"
  [[ $1 =~ ^[0-9]+$ ]] && (($1 <= $2))
}

readelf -dW "$lib" >"$work/dynamic"
readelf -lW "$lib" >"$work/segments"
nm -D --defined-only --with-symbol-versions "$lib" | awk '$2 != "A" {sub(/@@?Base$/, "", $3); print $3}' |
  sort >"$work/exports"

# --- names ----------------------------------------------------------------------------------------------------------

is_list() { diff -u "$1" "$2" | tail -n +3; return "${PIPESTATUS[0]}"; }
check "exports: the list is sorted" sort -c "$here/exports.txt"
check "exports: libneap.so has exactly the names and versions of exports.txt" is_list "$here/exports.txt" "$work/exports"

# Of the list itself, so that a mistake does not come in with an update of it: neap_* is versioned, the names of others
# are not, for a versioned malloc would not be taken where another library asks for libc's.
versions_are_right() {
  ! grep '^neap_' "$here/exports.txt" | grep -v '^neap_[a-z_]*@@NEAP_0$' &&
    ! grep -v '^neap_' "$here/exports.txt" | grep '@'
}
check "exports: neap_* at NEAP_0, all others unversioned" versions_are_right

# archive_has ARCHIVE PATTERN: its global names are those of the list that match.
archive_has() {
  [[ -f $directory/$1 ]] || { echo "$directory/$1: no such file"; return 1; }
  # DW.ref.*: the hidden pointers by which C++ code finds its exception handlers, merged by every linker.
  nm -g --defined-only "$directory/$1" | awk 'NF == 3 && $3 !~ /^DW\.ref\./ {print $3}' | sort >"$work/globals"
  sed 's/@.*//' "$here/exports.txt" | grep -- "$2" | sort >"$work/public"
  is_list "$work/public" "$work/globals"
}
check "archives: libneap.a has the same names but for __libc_malloc and the like, and no others" \
  archive_has libneap.a '^[^_]\|^_Z'
check "archives: libneap-core.a has the neap_ names and no others" archive_has libneap-core.a '^neap_'

# --- how it is linked -----------------------------------------------------------------------------------------------

needs_only_libc() {
  local needed
  needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p' "$work/dynamic")
  echo "$needed"
  grep -qx 'libc\.so\.6' <<<"$needed" && ! grep -vx 'libc\.so\.6\|ld-linux.*\.so\.[0-9]*' <<<"$needed"
}
dynamic_says() { grep -- "$1" "$work/dynamic"; }
no_textrel() { ! grep TEXTREL "$work/dynamic"; }
no_search_path() { ! grep 'RPATH\|RUNPATH' "$work/dynamic"; }
relro() { grep GNU_RELRO "$work/segments"; }
# In readelf's segments: type, offset, two addresses, two sizes, flags in one to three words, alignment.
stack_is_not_executable() {
  local line
  line=$(grep GNU_STACK "$work/segments") || { echo "no GNU_STACK segment: executable by default"; return 1; }
  echo "$line"
  [[ $line =~ 0x[0-9a-f]+\ +RW?\ +0x ]]
}
no_writable_code() { ! grep ' RWE ' "$work/segments"; }

check "linking: needs libc.so.6 and nothing else" needs_only_libc
check "linking: its soname is libneap.so.0" dynamic_says '(SONAME).*\[libneap\.so\.0\]'
check "linking: BIND_NOW" dynamic_says '(FLAGS).*BIND_NOW\|(FLAGS_1).* NOW'
check "linking: NODELETE" dynamic_says '(FLAGS_1).* NODELETE'
check "linking: RELRO" relro
check "linking: no TEXTREL" no_textrel
check "linking: no RPATH or RUNPATH" no_search_path
check "linking: no executable stack" stack_is_not_executable
check "linking: no segment both writable and executable" no_writable_code

# --- what it costs --------------------------------------------------------------------------------------------------

strip -o "$work/stripped" "$lib"
size=$(stat -c %s "$work/stripped")
tls=$(awk '$1 == "TLS" {print $6}' "$work/segments")
tls=$((${tls:-0}))
check "size: $size bytes stripped, at most $max_stripped" at_most "$size" "$max_stripped"
check "size: $tls bytes of TLS, at most $max_tls" at_most "$tls" "$max_tls"

echo "$passed passed, $failed failed"
((failed == 0))
