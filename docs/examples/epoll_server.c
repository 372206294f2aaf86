/* A server with one thread and a scope for each connection.
 *
 *   cc epoll_server.c -lneap && ./a.out
 *
 * Clients send lines, which are kept until the connection closes. "COUNT" tells how many there are, "STATS" what
 * the connection's scope holds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <neap/neap.h>

enum { MOST_OF_A_LINE = 4096 };

struct line {
    struct line *next;
    char text[];
};

struct connection {
    int fd;
    neap_scope scope;
    struct line *lines;
    size_t count, pending; /* lines kept; bytes of a line that has not ended yet */
    char buffer[MOST_OF_A_LINE];
};

/* Plain malloc: it allocates in the connection's scope because the thread has entered it. */
static bool keep(struct connection *connection, const char *text, size_t length) {
    struct line *line = malloc(sizeof *line + length + 1);
    if (line == NULL)
        return false;
    memcpy(line->text, text, length);
    line->text[length] = '\0';
    line->next = connection->lines;
    connection->lines = line;
    connection->count++;
    return true;
}

static bool handle_line(struct connection *connection, const char *text, size_t length) {
    struct neap_scope_stats stats;
    if (length == 5 && memcmp(text, "COUNT", 5) == 0)
        return dprintf(connection->fd, "%zu lines\n", connection->count) > 0;
    if (length == 5 && memcmp(text, "STATS", 5) == 0 && neap_scope_stats(connection->scope, &stats) == 0)
        return dprintf(connection->fd, "%zu objects, %zu bytes\n", stats.live_objects, stats.live_bytes) > 0;
    return keep(connection, text, length);
}

/* What there is to read. False where the connection is to be closed. */
static bool handle_input(struct connection *connection) {
    char *buffer = connection->buffer;
    ssize_t got = read(connection->fd, buffer + connection->pending, MOST_OF_A_LINE - connection->pending);
    if (got <= 0)
        return false;
    size_t end = connection->pending + (size_t)got, begin = 0;
    for (char *newline; (newline = memchr(buffer + begin, '\n', end - begin)) != NULL;) {
        size_t length = (size_t)(newline - buffer) - begin;
        if (!handle_line(connection, buffer + begin, length))
            return false;
        begin += length + 1;
    }
    memmove(buffer, buffer + begin, end - begin);
    connection->pending = end - begin;
    return connection->pending < MOST_OF_A_LINE;
}

static void open_connection(int epoll, int fd) {
    neap_scope scope = neap_scope_create(&(struct neap_scope_options){.label = "connection"});
    struct connection *connection = NULL;
    if (scope != 0 && neap_scope_enter(scope) == 0) {
        connection = calloc(1, sizeof *connection);
        neap_scope_leave(scope);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (connection == NULL || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(connection);
        neap_scope_end(scope); /* EINVAL for 0: harmless */
        close(fd);
        return;
    }
    connection->fd = fd;
    connection->scope = scope;
}

/* All is freed as without scopes: a scope frees nothing by itself. */
static void close_connection(struct connection *connection) {
    neap_scope scope = connection->scope;
    for (struct line *line = connection->lines, *next; line != NULL; line = next) {
        next = line->next;
        free(line);
    }
    close(connection->fd);
    free(connection);
    neap_scope_end(scope);
}

static void serve(struct connection *connection) {
    neap_scope scope = connection->scope;
    neap_scope_enter(scope); /* from here malloc allocates in the connection's scope … */
    bool stays_open = handle_input(connection);
    neap_scope_leave(scope); /* … until here, where the next connection has its turn */
    if (!stays_open)
        close_connection(connection);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[64];
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
        perror("epoll_server");
        return 1;
    }
    dprintf(STDOUT_FILENO, "port %d\n", ntohs(address.sin_port));
    for (;;) {
        int ready = epoll_wait(epoll, events, sizeof events / sizeof *events, -1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.ptr != NULL)
                serve(events[i].data.ptr);
            else
                open_connection(epoll, accept(listener, NULL, NULL));
    }
}
