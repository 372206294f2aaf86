// A TCP server with one thread and epoll: tcp-epoll PORT
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "connection.h"

enum { EVENTS = 64 };

static bool take_connection(int poll, int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) {
        return errno == EINTR || errno == ECONNABORTED;
    }
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        return false;
    }
    struct connection *connection = connection_open(fd);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    return connection != NULL && epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) == 0;
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: tcp-epoll PORT\n");
        return 2;
    }
    int listener = listen_on(arguments[1]), poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event) != 0) {
        fprintf(stderr, "epoll: %s\n", strerror(errno));
        return 1;
    }
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        if (ready < 0 && errno != EINTR) {
            fprintf(stderr, "epoll_wait: %s\n", strerror(errno));
            return 1;
        }
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL) {
                if (!take_connection(poll, listener)) {
                    fprintf(stderr, "cannot serve a connection: %s\n", strerror(errno));
                    return 1;
                }
            } else if (!connection_read(connection)) {
                connection_close(connection); // closing takes it out of the poll
            }
        }
    }
}
