#!/bin/bash
# usage: tests/static/format.sh [TREE]
# Whether the C and C++ files of TREE (default: the tree this script lies in) are as its .clang-format wants them. Names
# the files that are not; `clang-format -i FILE` mends one.
set -euo pipefail
export LC_ALL=C

(($# <= 1)) || { sed -n 's/^# usage: //p' "$0" >&2; exit 2; }
tree=${1-$(dirname -- "${BASH_SOURCE[0]}")/../..}
cd -- "$tree"
[[ -f .clang-format ]] || { echo "$PWD: no .clang-format here" >&2; exit 2; }
clang_format=${CLANG_FORMAT:-clang-format}
command -v "$clang_format" >/dev/null || { echo "$clang_format not found" >&2; exit 2; }

passed=0 failed=0
for folder in alloc include tests tools bench docs; do
  wrong=()
  while IFS= read -r -d '' file; do
    if "$clang_format" --style=file --dry-run -Werror "$file" >/dev/null 2>&1; then
      passed=$((passed + 1))
    else
      wrong+=("$file")
      failed=$((failed + 1))
    fi
  done < <(find "$folder" \( -name '*.[ch]' -o -name '*.cpp' \) -print0 2>/dev/null | sort -z)
  ((${#wrong[@]} > 0)) || echo "ok    format: $folder"
  ((${#wrong[@]} == 0)) || printf 'FAIL  format: %s\n' "${wrong[@]}"
done

echo "$passed passed, $failed failed"
((failed == 0))
