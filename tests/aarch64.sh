#!/bin/bash
# Builds the core for aarch64 with Debian's cross compiler and runs its unit, stress and fuzz replay tests under
# qemu-user. cmocka for arm64 is unpacked into the build directory: nothing is installed. Ends with what was skipped
# because qemu-user does not do it as Linux does.
#   tests/aarch64.sh [SECONDS of each stress test]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$PWD/build/aarch64
root=$build/root
if [ ! -e "$root/usr/include/cmocka.h" ]; then
    mkdir -p "$root/apt/lists/partial" "$root/apt/archives/partial"
    apt=(-o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o "Dir::State=$root/apt"
         -o "Dir::Cache=$root/apt" -o Dir::State::status=/dev/null -o APT::Sandbox::User=root -qq)
    apt-get "${apt[@]}" update
    (cd "$root" && apt-get "${apt[@]}" download libcmocka-dev libcmocka0)
    for package in "$root"/*.deb; do dpkg -x "$package" "$root"; done
fi
cmake -S . -B "$build" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$PWD/tests/aarch64.cmake" -DNEAP_ARM64_SYSROOT="$root" \
      -DCMAKE_BUILD_TYPE=Debug -DNEAP_WERROR=ON -DNEAP_STRESS_SECONDS="${1:-20}" >/dev/null
cmake --build "$build"
status=0
ctest --test-dir "$build" -L 'unit|stress|fuzz' --no-tests=error --output-on-failure || status=$?
sed -n 's/^skipped: //p' "$build/Testing/Temporary/LastTest.log" | sort | uniq -c |
    awk '{ lines = lines "\n  " $0; skipped += $1 } END { print skipped + 0 " skipped" lines }'
exit $status
