#!/bin/bash
# usage: tests/static/layers.sh [TREE]
# The order of the folders of alloc/ in TREE (default: the tree this script lies in): what each may include, of neap
# and of the system, and that only os/ calls the system.
set -euo pipefail
export LC_ALL=C

(($# <= 1)) || { sed -n 's/^# usage: //p' "$0" >&2; exit 2; }
tree=${1-$(dirname -- "${BASH_SOURCE[0]}")/../..}
cd -- "$tree/alloc"

# From the ground up; each may include itself and those before it.
layers=(base os page slab large cache scope purge front)

# Headers of the compiler, which declare no functions: for all.
free_standing=" stdalign.h stdarg.h stdatomic.h stdbool.h stddef.h stdint.h limits.h "

# Headers of libc for a folder, or for one file of it. What may block, allocate or map has its place in os/.
declare -A allowed=(
  [base]="string.h"
  [os]="elf.h errno.h fcntl.h linux/futex.h linux/membarrier.h pthread.h sched.h signal.h stdlib.h string.h sys/auxv.h
    sys/mman.h sys/prctl.h sys/resource.h sys/syscall.h sys/uio.h sys/wait.h time.h unistd.h"
  [os/os_thread.c]="dlfcn.h"
  [os/cfi.c]="dlfcn.h"
  [os/module.c]="link.h"
  [page]="string.h"
  [slab]="string.h"
  [large]="errno.h string.h"
  [cache]="errno.h pthread.h string.h"
  [scope]="errno.h pthread.h string.h"
  [purge]="pthread.h string.h"
  [front]="errno.h pthread.h string.h"
  [front/operators.c]="dlfcn.h"
  [front/report.c]="malloc.h stdio.h"
  [front/scopes.c]="stdio.h"
)

# Functions that enter the kernel, should one be declared by hand or come in through a header that is allowed.
system_calls='syscall|mmap|mmap64|munmap|mremap|mprotect|madvise|process_madvise|mlock|munlock|mincore|prctl|sbrk|brk'
system_calls+='|open|openat|read|pread|write|writev|close|lseek|getrlimit|setrlimit|getrusage|clock_gettime|gettimeofday'
system_calls+='|nanosleep|usleep|sched_yield|sched_getaffinity|getpid|gettid|sysconf|getauxval|getenv|secure_getenv'
system_calls+='|membarrier|sigaction|sigprocmask|kill|abort|exit|_exit|fork|clone|pthread_create|pthread_join'
system_calls+='|pthread_mutex_lock|pthread_mutex_unlock|pthread_sigmask|printf|puts|fputs|perror'

max_lines=600

passed=0 failed=0
# report NAME FINDINGS: good where there are none.
report() {
  if [[ -z $2 ]]; then
    echo "ok    $1"
    passed=$((passed + 1))
  else
    echo "FAIL  $1"
    sed 's/^/      | /' <<<"$2"
    failed=$((failed + 1))
  fi
}

# Lines FILE:LINE:KIND:NAME, KIND being " or <, of every #include; <neap/neap.h> is one of ours.
includes() {
  find . -name '*.[ch]' -print0 | sort -z | xargs -0 awk '
    match($0, /^[ \t]*#[ \t]*include[ \t]*["<][^">]*/) {
      name = substr($0, RSTART, RLENGTH)
      sub(/^[ \t]*#[ \t]*include[ \t]*/, "", name)
      print substr(FILENAME, 3) ":" FNR ":" substr(name, 1, 1) ":" substr(name, 2)
    }
    match($0, /^[ \t]*#[ \t]*include[ \t]*[^ \t"<]/) { print substr(FILENAME, 3) ":" FNR ":?:" $0 }'
}

# What a C file says, without comments and the contents of strings.
code() {
  awk '
    {
      line = $0; out = ""
      while (line != "") {
        if (inside) {
          end = index(line, "*/")
          if (end == 0) break
          line = substr(line, end + 2); inside = 0
        } else if (match(line, /"([^"\\]|\\.)*"|\047([^\047\\]|\\.)+\047|\/\*|\/\//)) {
          found = substr(line, RSTART, RLENGTH)
          out = out substr(line, 1, RSTART - 1)
          line = substr(line, RSTART + RLENGTH)
          if (found == "//") line = ""
          else if (found == "/*") inside = 1
          else out = out "\"\""
        } else {
          out = out line; line = ""
        }
      }
      print FILENAME ":" FNR ":" out
    }' "$1"
}

rank() {
  local i
  for i in "${!layers[@]}"; do
    if [[ ${layers[i]} == "$1" ]]; then
      echo "$i"
      return
    fi
  done
  echo -1
}

folders=""
for folder in */; do
  [[ $(rank "${folder%/}") != -1 ]] || folders+="${folder%/}: not in the list of layers"$'\n'
done
report "layers: every folder is one of them" "${folders%$'\n'}"

upward="" foreign="" strange="" missing="" seen=0
while IFS=: read -r file line kind name; do
  seen=$((seen + 1))
  own=${file%%/*} from="$file:$line" shown="$kind$name"
  case $kind$name in
  \"neap/neap.h | '<neap/neap.h')
    [[ $own == front ]] || upward+="$from includes $name, which only front/ may"$'\n'
    ;;
  \"*/*)
    to=${name%%/*}
    if [[ $(rank "$to") == -1 ]]; then
      strange+="$from: \"$name\" is in none of the layers"$'\n'
    elif (($(rank "$to") > $(rank "$own"))); then
      upward+="$from: $own/ includes \"$name\", which lies above it"$'\n'
    fi
    [[ -f $name ]] || missing+="$from: there is no alloc/$name"$'\n'
    ;;
  '<'*)
    list="$free_standing ${allowed[$own]-} ${allowed[$file]-} "
    [[ " ${list//[[:space:]]/ } " == *" $name "* ]] || foreign+="$from: <$name> is not for $file"$'\n'
    ;;
  *)
    strange+="$from: $shown"$'\n'
    ;;
  esac
done < <(includes)
[[ $seen -gt 50 ]] || strange+="only $seen includes found: is this the right tree?"$'\n'
report "layers: no include goes up" "${upward%$'\n'}"
report "layers: every include names its folder, and a file that is there" "$strange${missing%$'\n'}"
report "system: headers of libc only where they are allowed" "${foreign%$'\n'}"

calls=$(for file in */*.[ch]; do
  [[ $file == os/* ]] || code "$file" | grep -E "^[^:]*:[0-9]*:.*(^|[^A-Za-z0-9_.>])($system_calls)[ ]*\(" || true
done)
report "system: calls only in os/" "$calls"

assembly=$(for file in */*.[ch]; do
  [[ $file == os/* ]] || code "$file" | grep -wE 'asm|__asm|__asm__' || true
done)
report "system: assembly only in os/" "$assembly"

long=$(find . -name '*.[ch]' -print0 | xargs -0 wc -l | awk -v max=$max_lines '$2 != "total" && $1 > max {print $2 ": " $1 " lines"}')
report "size: no file has more than $max_lines lines" "$long"

# The order of the layers leaves room for circles within a folder.
circles=$(includes | awk -F: '
  $3 == "\"" && $1 ~ /\.h$/ { edge[$1] = edge[$1] " " $4 }
  function visit(f, path,   list, n, i) {
    if (index(path " ", " " f " ")) { print "circle:" path " " f; return }
    if (f in done) return
    n = split(edge[f], list, " ")
    for (i = 1; i <= n; i++) visit(list[i], path " " f)
    done[f] = 1
  }
  END { for (f in edge) visit(f, "") }')
report "layers: no circle of headers" "$circles"

echo "$passed passed, $failed failed"
((failed == 0))
