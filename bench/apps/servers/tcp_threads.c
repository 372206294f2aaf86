// A TCP server with a thread for each connection: tcp-threads PORT
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "connection.h"

static void *serve(void *argument) {
    struct connection *connection = argument;
    while (connection_read(connection)) {
    }
    connection_close(connection);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: tcp-threads PORT\n");
        return 2;
    }
    int listener = listen_on(arguments[1]);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED) {
                continue;
            }
            fprintf(stderr, "accept: %s\n", strerror(errno));
            return 1;
        }
        struct connection *connection = connection_open(fd);
        pthread_t thread;
        int failure = connection == NULL ? ENOMEM : pthread_create(&thread, &detached, serve, connection);
        if (failure != 0) {
            fprintf(stderr, "cannot serve a connection: %s\n", strerror(failure));
            return 1;
        }
    }
}
