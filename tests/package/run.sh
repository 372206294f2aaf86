#!/bin/bash
# usage: tests/package/run.sh BUILD_DIR
# Installs what was built in BUILD_DIR, moves it elsewhere, and builds and runs programs of outside projects against
# it: found by CMake, found by pkg-config, and with neap's sources in their own tree. Every program says itself whose
# its malloc is.
set -euo pipefail

(($# == 1)) || { sed -n 's/^# usage: //p' "$0" >&2; exit 2; }
build=$(cd -- "$1" && pwd -P)
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
source=${here%/tests/package}
unset CDPATH LD_PRELOAD LD_LIBRARY_PATH NEAP_OPTIONS PKG_CONFIG_LIBDIR DESTDIR CMAKE_PREFIX_PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/neap package.XXXXXX") # with a space
trap 'rm -rf -- "$work"' EXIT

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
    sed 's/^/      | /' "$work/log" | tail -n 25
    failed=$((failed + 1))
  fi
}

# What a program must print at last.
takes_over="malloc is neap's, neap is in front"
stays_beside="malloc is not neap's, neap is behind"
is_absent="malloc is not neap's, neap is absent"
says() {
  local expected=$1 output status=0
  shift
  output=$(timeout 60 "$@" 2>&1) || status=$?
  printf '%s\nexit status %s\n' "$output" "$status"
  [[ $status == 0 && ${output##*$'\n'} == "$expected" ]]
}

cc=${CC:-cc} cxx=${CXX:-c++}
generator=$(sed -n 's/^CMAKE_GENERATOR:INTERNAL=//p' "$build/CMakeCache.txt")
programs=(uses_malloc only_free no_reference own_names uses_new throws)
forms=(shared no-pie pie static static-pie sections)
core_forms=(no-pie pie static static-pie)

# --- installing -----------------------------------------------------------------------------------------------------

installed() {
  local prefix=$1 libdir file
  libdir=$(dirname -- "$(find "$prefix" -name libneap.a)")
  [[ -f $prefix/include/neap/neap.h ]] || { echo "no include/neap/neap.h"; return 1; }
  for file in libneap.so libneap.so.0 libneap.a libneap-core.a pkgconfig/neap.pc pkgconfig/neap-core.pc \
    cmake/neap/neap-config.cmake cmake/neap/neap-config-version.cmake; do
    [[ -f $libdir/$file ]] || { echo "no $libdir/$file"; return 1; }
  done
  for file in man1/neap.1 man3/neap_scope_create.3 man3/neap_scope_enter.3 man7/neap.7; do
    [[ -s $prefix/share/man/$file ]] || { echo "no share/man/$file"; return 1; }
  done
  [[ $(readlink "$libdir/libneap.so") == libneap.so.0 && $(readlink "$libdir/libneap.so.0") == libneap.so.0.* ]]
}

# A path that shows in what was installed would be wrong after the move.
holds_no_path_of() {
  local prefix=$1
  shift
  local path
  for path; do
    ! grep -rIFn -- "$path" "$prefix" || return 1
  done
}

staged() {
  DESTDIR=$work/stage cmake --install "$build" && mv -- "$work/stage$configured_prefix" "$moved"
}

configured_prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")
direct="$work/direct prefix" moved="$work/moved here"
check "install: into a prefix" cmake --install "$build" --prefix "$direct"
check "install: everything is there" installed "$direct"
check "install: staged with DESTDIR, moved elsewhere" staged
check "install: everything is there" installed "$moved"
check "install: no path of the build in text files" holds_no_path_of "$moved/lib" "$work" "$build" "$source"

# --- found by CMake, and in the tree --------------------------------------------------------------------------------

# Goes on behind an error: what can be built is tried.
configure() {
  local project=$1 keep_going=-k
  shift
  [[ $generator != Ninja* ]] || keep_going=-k0
  cmake -G "$generator" -S "$here/$project" -B "$work/$project" "$@" &&
    cmake --build "$work/$project" -j 2 -- "$keep_going"
}

# run_forms TITLE DIRECTORY
run_forms() {
  local form program
  for form in "${forms[@]}"; do
    for program in "${programs[@]}"; do
      check "$1: $form $program" says "$takes_over" "$2/$form-$program"
    done
  done
  for form in "${core_forms[@]}"; do
    check "$1: core $form uses_core" says "$stays_beside" "$2/core-$form-uses_core"
    check "$1: core $form own_names" says "malloc is neap's, neap is behind" "$2/core-$form-own_names"
  done
}

version_is_refused() {
  mkdir -p "$work/refused"
  printf '%s\n' 'cmake_minimum_required(VERSION 3.20)' 'project(refused C)' 'find_package(neap 1.0 CONFIG)' \
    'if(neap_FOUND)' 'message(FATAL_ERROR "found")' 'endif()' >"$work/refused/CMakeLists.txt"
  cmake -G "$generator" -S "$work/refused" -B "$work/refused/build" "-DCMAKE_PREFIX_PATH=$moved" &&
    grep -q '^neap_CONSIDERED_VERSIONS\|^neap_DIR:PATH=neap_DIR-NOTFOUND' "$work/refused/build/CMakeCache.txt"
}

check "find_package: configure and build" configure find_package "-DCMAKE_PREFIX_PATH=$moved"
run_forms find_package "$work/find_package/programs"
check "find_package: another major version is refused" version_is_refused

check "add_subdirectory: configure and build" configure subdirectory "-DNEAP_SOURCE=$source"
run_forms add_subdirectory "$work/subdirectory/programs"

fetch() {
  tar -C "$source" --exclude=./build --exclude=./.git -cf "$work/neap.tar" . &&
    cmake -G "$generator" -S "$here/fetch_content" -B "$work/fetch_content" "-DNEAP_SOURCE=$work/neap.tar" &&
    cmake --build "$work/fetch_content" -j 2 --target shared-uses_malloc
}
check "FetchContent: configure and build" fetch
check "FetchContent: uses_malloc" says "$takes_over" "$work/fetch_content/shared-uses_malloc"

# --- found by pkg-config --------------------------------------------------------------------------------------------

export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname -- "$(find "$moved" -name neap.pc)")
pkg() { pkg-config "$@"; }
# pkg-config quotes for the shell: words "$(pkg-config ...)" are put into the array `flags`.
flags=()
words() { eval "flags=($*)"; }

# build NAME PROGRAM FLAGS...: FLAGS are the compiler's and, behind the program, the linker's.
build() {
  local out=$1 program=$2 source_file compiler
  shift 2
  source_file=$(find "$here/programs" -name "$program.c*")
  [[ $source_file == *.cpp ]] && compiler=$cxx || compiler=$cc
  $compiler -O2 -Wall -Wextra "$source_file" -o "$work/$out" "$@" -pthread
}

# by_pkg_config FORM EXPECTED PROGRAM FLAGS...
by_pkg_config() {
  local form=$1 expected=$2 program=$3
  shift 3
  check "pkg-config: build $form $program" build "$form-$program" "$program" "$@"
  check "pkg-config: $form $program" says "$expected" "$work/$form-$program"
}

check "pkg-config: knows neap" pkg --exists --print-errors neap neap-core
check "pkg-config: the header's version" \
  test "$(pkg --modversion neap)" = "$(sed -n 's/.*define NEAP_VERSION  *"\(.*\)"/\1/p' "$source/include/neap/neap.h")"
libdir=$(dirname -- "$PKG_CONFIG_PATH")
archive=$(pkg --variable=archive neap)
eval "archive=$archive"
for program in "${programs[@]}"; do
  words "$(pkg --cflags --libs neap)"
  by_pkg_config shared "$takes_over" "$program" -Wl,--as-needed "${flags[@]}" "-Wl,-rpath,$libdir"
  words "$(pkg --static --cflags --libs neap)"
  by_pkg_config static "$takes_over" "$program" -static "${flags[@]}"
  by_pkg_config static-pie "$takes_over" "$program" -static-pie -fPIE "${flags[@]}"
  words "$(pkg --cflags neap)"
  by_pkg_config archive "$takes_over" "$program" -Wl,--undefined=neap_state "${flags[@]}" "$archive"
  by_pkg_config archive-no-pie "$takes_over" "$program" -fno-pie -no-pie -Wl,--undefined=neap_state "${flags[@]}" \
    "$archive"
done
words "$(pkg --cflags neap)"
by_pkg_config archive-alone "$takes_over" only_free "${flags[@]}" "$archive" # one call of free pulls all of it in
words "$(pkg --cflags --libs neap-core)"
by_pkg_config core "$stays_beside" uses_core "${flags[@]}"
by_pkg_config core-static "$stays_beside" uses_core -static "${flags[@]}"

# --- names ----------------------------------------------------------------------------------------------------------

# A program that defines every name of neap's inside as a global variable, but for those that are libc's as well.
all_names() {
  local libc
  libc=$("$cc" -print-file-name=libc.so.6)
  nm --defined-only "$1" | awk '$2 ~ /^[tTdDbBrR]$/ && $2 == tolower($2) && $3 ~ /^[A-Za-z_][A-Za-z0-9_]*$/ {print $3}' |
    sort -u >"$work/names"
  nm -D --defined-only "$libc" | awk '{sub(/@.*/, "", $3); print $3}' | sort -u >"$work/names of libc"
  comm -23 "$work/names" "$work/names of libc" >"$work/own names"
  (($(wc -l <"$work/own names") > 50)) || { echo "too few names found"; return 1; }
  {
    sed 's/.*/int & = 1;/' "$work/own names"
    printf 'int main(void)\n{\n    return 0'
    sed 's/.*/ | (& != 1)/' "$work/own names"
    echo ' | uses_malloc() ;}'
  } >"$work/names.c"
}
links_beside_all_names() {
  local archive=$1
  shift
  all_names "$archive" || return 1
  # The program's own malloc calls come from uses_malloc.c, which knows nothing of these names.
  sed -i 's/^int main/int uses_malloc(void);\n&/' "$work/names.c"
  "$cc" -fno-builtin -w -c "$work/names.c" -o "$work/names.o" &&
    "$cc" -O2 -I"$moved/include" -Dmain=uses_malloc -c "$here/programs/$program.c" -o "$work/user.o" &&
    "$cc" "$work/names.o" "$work/user.o" "$archive" -pthread "$@" -o "$work/names-program" &&
    says "$expected" "$work/names-program"
}
program=uses_malloc expected=$takes_over
check "names: none of libneap.a's clashes" links_beside_all_names "$archive"
check "names: none of libneap.a's clashes, static" links_beside_all_names "$archive" -static
program=uses_core expected=$stays_beside
check "names: none of libneap-core.a's clashes" links_beside_all_names "$libdir/libneap-core.a"

# --- control --------------------------------------------------------------------------------------------------------

# Without neap the same program has to say so: else none of the above would prove anything.
by_pkg_config control "$is_absent" only_free -I"$moved/include"

echo "$passed passed, $failed failed"
((failed == 0))
