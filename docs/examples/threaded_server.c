/* A server with four threads and, for each request, a scope that may hold 16 MiB.
 *
 *   cc -pthread threaded_server.c -lneap && ./a.out
 *
 * GET /squares/N makes a list of N numbers and answers their sum, or 503 where the list is larger than a request
 * may be. GET /report answers what neap says of the requests so far. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <neap/neap.h>

enum { THREADS = 4, LIMIT = 16 << 20 };

struct number {
    struct number *next;
    unsigned long value;
};

static void free_all(struct number *list) {
    for (struct number *next; list != NULL; list = next) {
        next = list->next;
        free(list);
    }
}

/* An application's function, which knows nothing of scopes: plain malloc, and an error where that fails. */
static int sum_of_squares(unsigned long count, unsigned long *sum) {
    struct number *list = NULL;
    for (unsigned long i = 1; i <= count; i++) {
        struct number *number = malloc(sizeof *number);
        if (number == NULL) {
            free_all(list);
            return ENOMEM;
        }
        *number = (struct number){.next = list, .value = i * i};
        list = number;
    }
    *sum = 0;
    for (const struct number *number = list; number != NULL; number = number->next)
        *sum += number->value;
    free_all(list);
    return 0;
}

static void answer(int fd, const char *status, const char *body) {
    dprintf(fd, "HTTP/1.0 %s\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body), body);
}

static void answer_squares(int fd, const char *path) {
    struct neap_scope_options options = {.label = "/squares", .limit = LIMIT};
    neap_scope scope = neap_scope_create(&options);
    if (scope == 0 || neap_scope_enter(scope) != 0) {
        answer(fd, "503 Service Unavailable", "no scope\n");
        return;
    }
    unsigned long sum;
    int error = sum_of_squares(strtoul(path + strlen("/squares/"), NULL, 10), &sum);
    neap_scope_leave(scope);
    neap_scope_end(scope);
    /* The answer is made outside of the scope: it shall not fail for want of the request's memory. */
    if (error != 0) {
        answer(fd, "503 Service Unavailable", "the request needs too much memory\n");
    } else {
        char body[32];
        snprintf(body, sizeof body, "%lu\n", sum);
        answer(fd, "200 OK", body);
    }
}

static void answer_report(int fd) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream != NULL && neap_scope_report(stream) == 0 && fclose(stream) == 0)
        answer(fd, "200 OK", text);
    free(text);
}

static void *serve(void *argument) {
    int listener = *(int *)argument;
    for (;;) {
        char request[1024];
        int fd = accept(listener, NULL, NULL);
        ssize_t got = read(fd, request, sizeof request - 1); /* short requests come in one piece */
        request[got > 0 ? got : 0] = '\0';
        if (strncmp(request, "GET /squares/", 13) == 0)
            answer_squares(fd, request + 4);
        else if (strncmp(request, "GET /report", 11) == 0)
            answer_report(fd);
        else
            answer(fd, "404 Not Found", "there are /squares/N and /report\n");
        close(fd);
    }
    return NULL;
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        perror("threaded_server");
        return 1;
    }
    dprintf(STDOUT_FILENO, "port %d\n", ntohs(address.sin_port));
    pthread_t thread;
    for (int i = 1; i < THREADS; i++)
        if (pthread_create(&thread, NULL, serve, &listener) != 0)
            return 1;
    serve(&listener);
}
