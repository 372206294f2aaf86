/* neap symbolize: hands over to neap-symbolize, which lies beside this program where libdw was there to build it.
 *
 * SPDX-License-Identifier: MIT */
#include "command.h"
#include "library.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: neap symbolize [FILE]\n"
    "\n"
    "Copies FILE, or the standard input, and writes function, file and line beside each address of a survivor\n"
    "report, which NEAP_OPTIONS=scope_survivors:N puts call stacks into.\n"
    "\n"
    "The programs and libraries that the report names are read, and their debug information where it is\n"
    "installed; see neap(1).\n";

static int symbolize(int argc, char **argv) {
    (void)argc;
    if (argv[1] && strcmp(argv[1], "--help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    const char *path = library_own_path("", "neap-symbolize");
    if (path)
        execv(path, argv);
    fprintf(stderr, "neap: %s: %s; neap has to be built where libdw is (Debian: libdw-dev)\n",
            path ? path : "neap-symbolize", strerror(errno));
    return EXIT_USAGE;
}

const struct command symbolize_command = {
    .name = "symbolize",
    .summary = "name the functions in a report of what survived scopes",
    .help = help,
    .run = symbolize,
};
