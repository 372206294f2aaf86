"""gcc and g++ on large generated files: the same object code as under glibc, at -O0 and -O2, and a program of it that
runs."""

from support import check_equal, test


def c_source(functions):
    parts = ["#include <stdint.h>\n#include <stdio.h>\n"]
    for i in range(functions):
        parts.append(f"""
struct s{i} {{ uint32_t a[{i % 13 + 1}]; const char *name; }};
static const struct s{i} table{i}[] = {{ {{ {{{i}}}, "text number {i}" }}, {{ {{{i * 7 % 1000}}}, "other" }} }};
uint32_t f{i}(uint32_t x, uint32_t y) {{
    uint32_t sum = {i};
    for (uint32_t n = 0; n < (x & {i % 31 + 1}); n++) {{
        switch ((n + y) % {i % 6 + 3}) {{
        case 0: sum += table{i}[n & 1].a[0] * x; break;
        case 1: sum ^= y << (n & 15); break;
        case 2: sum = sum * {2 * i + 1}u + (uint32_t)table{i}[n & 1].name[n % 5]; break;
        default: sum -= {f"f{i - 1}(sum & 7, n)" if i % 3 == 1 else "sum >> 3"};
        }}
    }}
    return sum;
}}
""")
    calls = "\n".join(f"    sum = sum * 31 + f{i}(sum & 15, {i});" for i in range(functions))
    parts.append(f'int main(void) {{\n    uint32_t sum = 1;\n{calls}\n    printf("%u\\n", sum);\n    return 0;\n}}\n')
    return "".join(parts)


def cxx_source(classes):
    parts = ["#include <algorithm>\n#include <iostream>\n#include <map>\n#include <memory>\n#include <numeric>\n"
             "#include <string>\n#include <vector>\n"]
    for i in range(classes):
        parts.append(f"""
template <int N> struct node{i} {{
    std::map<std::string, std::vector<node{i}<N - 1>>> below;
    std::unique_ptr<long> value = std::make_unique<long>(N * {i + 1});
    long sum() const {{
        long total = *value;
        for (auto &[name, list] : below)
            total += std::accumulate(list.begin(), list.end(), long(name.size()),
                                     [](long n, auto &next) {{ return n + next.sum(); }});
        return total;
    }}
    void grow() {{ for (int n = 0; n < 3; n++) below["key" + std::to_string(n * N)].emplace_back().grow(); }}
}};
template <> struct node{i}<0> {{
    long sum() const {{ return {i}; }}
    void grow() {{}}
}};
long run{i}() {{ node{i}<4> top; top.grow(); return top.sum(); }}
""")
    calls = " + ".join(f"run{i}() * {i + 1}" for i in range(classes))
    parts.append(f"int main() {{ std::cout << {calls} << std::endl; }}\n")
    return "".join(parts)


def compile_both(case, command, source, compiler, options):
    """The object made under neap, which is that made under glibc."""
    objects = []
    for neap in True, False:
        argv = [case.program(command), *options, "-c", source, "-o", case.path("object.o")]
        case.run(argv, neap=neap, sees=[compiler])
        with open(case.path("object.o"), "rb") as f:
            objects.append(f.read())
    check_equal(objects[0], objects[1], f"{command} {' '.join(options)}: object code")


def run_program(case, command):
    """Links what was compiled last with and without neap."""
    outputs = []
    for neap in True, False:
        case.run([case.program(command), case.path("object.o"), "-o", case.path("program")], neap=neap)
        outputs.append(case.run([case.path("program")], neap=neap).out)
    check_equal(outputs[0], outputs[1], f"{command}: the program's output")


@test("compilers.gcc", timeout=240, needs=["gcc"])
def gcc(case):
    source = case.write("large.c", c_source(case.size(900, 4_000)))
    compile_both(case, "gcc", source, "cc1", ["-O0", "-g"])
    compile_both(case, "gcc", source, "cc1", ["-O2"])
    run_program(case, "gcc")


@test("compilers.gxx", timeout=240, needs=["g++"])
def gxx(case):
    source = case.write("large.cpp", cxx_source(case.size(8, 30)))
    compile_both(case, "g++", source, "cc1plus", ["-std=c++17", "-O2", "-g"])
    run_program(case, "g++")
