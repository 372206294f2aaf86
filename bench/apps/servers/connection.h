// What the TCP servers keep for a connection: its input, and the latest messages.
//
// A message is a length, four bytes little endian, and that many bytes. Each is answered with how many there were,
// in four bytes. The messages of a connection live until it ends, the latest MESSAGES_KEPT of them.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct connection;

// NULL: out of memory; the descriptor is closed.
struct connection *connection_open(int fd);

// Reads what is there and answers it. False: the connection is at its end, by the peer's will or by an error.
bool connection_read(struct connection *connection);

// Frees everything and closes the descriptor.
void connection_close(struct connection *connection);

// A socket that listens on the port of loopback. Exits with a message where that fails.
int listen_on(const char *port);
