/* Finds the library and makes LD_PRELOAD's value: see library.h. An installed library under a directory that
 * the loader calls $LIB ("lib/x86_64-linux-gnu", "lib64") is named with that token, so that a child of
 * another architecture takes its own; whether the token really leads to this very file is asked of the
 * loader.
 *
 * SPDX-License-Identifier: MIT */
#include "library.h"

#include "loader.h"
#include "text.h"

#include "neap/neap.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INSTALLED_NAME  "libneap.so.0"
#define BUILD_TREE_NAME "libneap.so"

/* dir/relative with the leading ".." taken off dir, which has no symbolic links in it. */
static char *resolve_from(const char *dir, const char *relative, const char *name) {
    size_t length = strlen(dir);
    while (strncmp(relative, "../", 3) == 0 || strcmp(relative, "..") == 0) {
        while (length > 0 && dir[length - 1] != '/')
            length--;
        while (length > 0 && dir[length - 1] == '/')
            length--;
        relative += relative[2] ? 3 : 2;
    }
    return text_format("%.*s/%s%s%s", (int)length, dir, relative, *relative ? "/" : "", name);
}

static char *own_executable(void) {
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    return length > 0 ? text_copy(path, (size_t)length) : NULL;
}

static char *own_directory(void) {
    char *path = own_executable();
    char *slash = path ? strrchr(path, '/') : NULL;
    if (!slash)
        return NULL;
    *slash = '\0';
    return path;
}

const char *library_own_path(const char *relative, const char *name) {
    const char *directory = own_directory();
    return directory ? resolve_from(directory, relative, name) : NULL;
}

static char *absolute_path(const char *path) {
    char directory[PATH_MAX];
    if (path[0] == '/' || !getcwd(directory, sizeof(directory)))
        return text_copy(path, strlen(path));
    return text_format("%s/%s", strcmp(directory, "/") == 0 ? "" : directory, path);
}

bool library_is_at(const struct library *library, const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && status.st_dev == library->device && status.st_ino == library->inode;
}

bool library_is_linked_into(const struct elf_file *program) {
    uint64_t state;
    uint64_t own_malloc;
    uint64_t malloc_value;
    return elf_static_object(program, "neap_state", sizeof(struct neap_state), &state) &&
           elf_static_function(program, "neap_malloc", &own_malloc) &&
           elf_static_function(program, "malloc", &malloc_value) && own_malloc == malloc_value;
}

struct token_probe {
    const struct library *library;
    bool found;
};

static void look_for_library(void *context, const char *line) {
    struct token_probe *probe = context;
    const char *file = loader_listed_file(line);
    if (file && library_is_at(probe->library, file))
        probe->found = true;
}

/* The path with the library's directory spelt by the token $LIB, where the loader takes it for this same
 * file; else NULL. A directory "lib" is not tried: it is one for every architecture. */
static char *token_path(const struct library *library, const char *directory) {
    static const char libdir[] = "/" NEAP_LIBDIR;
    size_t length = strlen(directory);
    if (strcmp(libdir, "/lib") == 0 || length < sizeof(libdir) ||
        strcmp(directory + length - (sizeof(libdir) - 1), libdir) != 0)
        return NULL;
    char *path =
        text_format("%.*s/$LIB/%s", (int)(length - (sizeof(libdir) - 1)), directory, text_basename(library->path));
    struct elf_file own;
    if (elf_open(&own, "/proc/self/exe"))
        return NULL;
    const char *loader = elf_interpreter(&own);
    elf_close(&own);
    struct token_probe probe = {.library = library};
    const char *executable = own_executable();
    if (!loader || !executable || loader_refusal(loader) ||
        !loader_dry_run(loader, executable, path, LOADER_OBJECTS, look_for_library, &probe) || !probe.found)
        return NULL;
    return path;
}

/* Opens the file and says what keeps it from being preloaded; said_by tells who named it. */
static const char *check_library(struct library *library, const char *said_by) {
    const char *reason = elf_open(&library->elf, library->path);
    if (reason)
        return text_format("library %s%s %s", library->path, said_by, reason);
    uint64_t value;
    if (library->elf.type != ET_DYN || elf_interpreter(&library->elf))
        reason = "is an ELF file, but not a shared library";
    else if (!elf_dynamic_symbol(&library->elf, "malloc", &value))
        reason = "does not export malloc";
    else if (strpbrk(library->path, PRELOAD_SEPARATORS))
        reason = "has a space or colon in its path, which LD_PRELOAD cannot carry";
    else if (strchr(library->path, '$'))
        reason = "has a '$' in its path, which LD_PRELOAD cannot carry";
    if (reason)
        return text_format("library %s%s %s", library->path, said_by, reason);
    struct stat status;
    if (fstat(library->elf.fd, &status) != 0)
        return text_format("library %s%s cannot be read: %s", library->path, said_by, strerror(errno));
    library->device = status.st_dev;
    library->inode = status.st_ino;
    return NULL;
}

static const char *find_own_library(struct library *library) {
    const char *directory = own_directory();
    if (!directory)
        return "cannot find the library: /proc/self/exe cannot be read; name it with --library";
    const char *installed = resolve_from(directory, NEAP_LIBDIR_FROM_BINDIR, INSTALLED_NAME);
    const char *build_tree = resolve_from(directory, "../lib", BUILD_TREE_NAME);
    struct stat status;
    bool is_installed = stat(installed, &status) == 0;
    if (!is_installed && stat(build_tree, &status) != 0)
        return text_format("cannot find the library: neither %s nor %s is there; name it with --library",
                           installed, build_tree);
    library->path = is_installed ? installed : build_tree;
    library->preload = library->path;
    const char *error = check_library(library, "");
    if (error || !is_installed)
        return error;
    const char *slash = strrchr(installed, '/');
    const char *token = token_path(library, text_copy(installed, (size_t)(slash - installed)));
    if (token) {
        library->preload = token;
        library->any_architecture = true;
    }
    return NULL;
}

const char *library_find(struct library *library, const char *given) {
    *library = (struct library){.elf.fd = -1};
    const char *from_environment = getenv("NEAP_LIBRARY");
    if (!given && (!from_environment || !*from_environment))
        return find_own_library(library);
    library->path = absolute_path(given ? given : from_environment);
    library->preload = library->path;
    return check_library(library, given ? "" : " (from NEAP_LIBRARY)");
}

/* Whether an entry of LD_PRELOAD is the library again: the same file, or its bare name. */
static bool is_library_entry(const struct library *library, const char *entry) {
    if (strcmp(entry, library->preload) == 0)
        return true;
    if (strchr(entry, '/'))
        return library_is_at(library, entry);
    return strcmp(entry, text_basename(library->path)) == 0 || strcmp(entry, INSTALLED_NAME) == 0;
}

char *library_preload_list(const struct library *library, const char *existing) {
    char *list = text_format("%s", library->preload);
    if (!existing)
        return list;
    for (char *entry; (entry = text_next_entry(&existing, PRELOAD_SEPARATORS)) != NULL;)
        if (!is_library_entry(library, entry))
            list = text_format("%s:%s", list, entry);
    return list;
}
