#include "connection.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGES_KEPT = 64, LONGEST_MESSAGE = 1 << 20, FIRST_ROOM = 512, NAME_ROOM = 40 };

struct message {
    struct message *next; // the one that came after it
    size_t size;
    unsigned char bytes[];
};

struct connection {
    int fd;
    char *name;
    unsigned char *input; // grows to the longest message
    size_t filled, room;
    struct message *oldest, *latest;
    unsigned kept;
    uint32_t messages;
};

static void free_message(struct connection *connection) {
    struct message *oldest = connection->oldest;
    connection->oldest = oldest->next;
    connection->kept--;
    free(oldest);
}

void connection_close(struct connection *connection) {
    while (connection->kept > 0) {
        free_message(connection);
    }
    close(connection->fd);
    free(connection->name);
    free(connection->input);
    free(connection);
}

struct connection *connection_open(int fd) {
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        close(fd);
        return NULL;
    }
    connection->fd = fd;
    connection->name = malloc(NAME_ROOM);
    connection->input = malloc(FIRST_ROOM);
    connection->room = FIRST_ROOM;
    if (connection->name == NULL || connection->input == NULL) {
        connection_close(connection);
        return NULL;
    }
    snprintf(connection->name, NAME_ROOM, "connection of descriptor %d", fd);
    return connection;
}

static bool keep_message(struct connection *connection, const unsigned char *bytes, size_t size) {
    struct message *message = malloc(sizeof *message + size);
    if (message == NULL) {
        return false;
    }
    message->next = NULL;
    message->size = size;
    memcpy(message->bytes, bytes, size);
    if (connection->kept == MESSAGES_KEPT) {
        free_message(connection);
    }
    if (connection->kept == 0) {
        connection->oldest = message;
    } else {
        connection->latest->next = message;
    }
    connection->latest = message;
    connection->kept++;
    connection->messages++;
    return true;
}

static bool answer(struct connection *connection) {
    uint32_t count = htole32(connection->messages);
    return send(connection->fd, &count, sizeof count, MSG_NOSIGNAL) == (ssize_t)sizeof count;
}

// Takes the whole messages out of the input.
static bool take_messages(struct connection *connection) {
    size_t taken = 0;
    uint32_t size;
    while (connection->filled - taken >= sizeof size) {
        memcpy(&size, connection->input + taken, sizeof size);
        size = le32toh(size);
        if (size > LONGEST_MESSAGE) {
            return false;
        }
        if (connection->filled - taken - sizeof size < size) {
            break;
        }
        if (!keep_message(connection, connection->input + taken + sizeof size, size) || !answer(connection)) {
            return false;
        }
        taken += sizeof size + size;
    }
    connection->filled -= taken;
    memmove(connection->input, connection->input + taken, connection->filled);
    return true;
}

bool connection_read(struct connection *connection) {
    if (connection->filled == connection->room) {
        unsigned char *larger = realloc(connection->input, 2 * connection->room);
        if (larger == NULL) {
            return false;
        }
        connection->input = larger;
        connection->room *= 2;
    }
    ssize_t got =
        recv(connection->fd, connection->input + connection->filled, connection->room - connection->filled, 0);
    if (got < 0) {
        return errno == EINTR || errno == EAGAIN;
    }
    connection->filled += (size_t)got;
    return got > 0 && take_messages(connection);
}

int listen_on(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, SOMAXCONN) != 0) {
        fprintf(stderr, "cannot listen on port %s: %s\n", port, strerror(errno));
        exit(1);
    }
    return fd;
}
