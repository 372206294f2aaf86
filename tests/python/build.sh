#!/bin/bash
# Builds the Python package from the tree, as wheel and by setup.py, and installs the wheel: build.sh [DIRECTORY [PYTHON]]
# It lies in DIRECTORY/lib then; by default in build/python/lib.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
directory=${1:-$root/build/python} python=${2:-/usr/bin/python3}

# In a copy: setuptools writes next to what it builds.
rm -rf "$directory"
mkdir -p "$directory/tree/tools"
cp -r "$root/include" "$directory/tree/"
cp -r "$root/tools/python" "$directory/tree/tools/"
cd "$directory/tree/tools/python"

export CFLAGS="-Wall -Wextra -Wshadow -Wconversion -Wundef -Wstrict-prototypes -Wmissing-prototypes -Werror"
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
"$python" setup.py -q build
"$python" -m pip -q wheel --no-index --no-build-isolation --no-deps --wheel-dir "$directory/wheel" .
"$python" -m pip -q install --no-index --no-deps --target "$directory/lib" "$directory"/wheel/neap-*.whl
