// An MCP server on Streamable HTTP that costs next to nothing: one thread, one epoll, no JSON parser.
//
//     upstream_http PORT RESULT_BYTES json|sse
//
// POST initialize -> JSON and a session id; a notification -> 202; subscriptions/listen -> an acknowledgement, then a silent
// stream; any other request -> a result that repeats the id, as JSON or as a stream of one event. GET -> a silent stream.
// DELETE -> 200. It ends with whoever started it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD 65536
#define EVENTS 256
#define FIRST_BUFFER 2048
#define PATIENCE_MS 5000

typedef struct { char *data; int length, capacity; } Connection;

static Connection *connections[MAX_FD];
static char *result, *out;
static int as_events;
static long sessions;

static void drop(int fd) {
  free(connections[fd]->data);
  free(connections[fd]);
  connections[fd] = NULL;
  close(fd);
}

static void send_all(int fd, const char *data, int length) {
  while (length > 0) {
    int sent = send(fd, data, length, MSG_NOSIGNAL);
    if (sent > 0) { data += sent; length -= sent; continue; }
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    if (errno != EAGAIN || poll(&writable, 1, PATIENCE_MS) <= 0) return;
  }
}

static void answer(int fd, const char *status, const char *fields, const char *body) {
  int length = sprintf(out, "HTTP/1.1 %s\r\n%scontent-length: %zu\r\n\r\n%s", status, fields, strlen(body), body);
  send_all(fd, out, length);
}

// A stream of one event; `last` says whether it ends there.
static void answer_events(int fd, const char *message, int last) {
  static const char head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n";
  static const char before[] = "event: message\ndata: ", after[] = "\n\n";
  int length = sprintf(out, "%s", head);
  if (message) length += sprintf(out + length, "%zx\r\n%s%s%s\r\n", strlen(before) + strlen(message) + strlen(after), before, message, after);
  if (last) length += sprintf(out + length, "0\r\n\r\n");
  send_all(fd, out, length);
}

static int has(const char *body, int length, const char *text) { return memmem(body, length, text, strlen(text)) != NULL; }

// The id as it was written, quotes and all; 0 if there is none.
static int find_id(const char *body, int length, char *id, int room) {
  const char *p = memmem(body, length, "\"id\":", 5), *end = body + length;
  if (!p) return 0;
  for (p += 5; p < end && *p == ' '; p++) {}
  const char *start = p;
  if (p < end && *p == '"') { for (p++; p < end && *p != '"'; p++) {} p++; }
  else while (p < end && *p != ',' && *p != '}' && *p != ' ') p++;
  if (p > end || p - start >= room) return 0;
  memcpy(id, start, p - start);
  id[p - start] = 0;
  return 1;
}

static void post(int fd, const char *body, int length) {
  static char *message;
  char id[256], fields[256];
  if (!message) message = malloc(strlen(result) + 2048);
  if (!find_id(body, length, id, sizeof id) || !has(body, length, "\"method\"")) {
    answer(fd, "202 Accepted", "", "");
  } else if (has(body, length, "\"initialize\"")) {
    sprintf(message, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{\"tools\":{}},"
                     "\"serverInfo\":{\"name\":\"bench\",\"version\":\"1\"}}}", id);
    sprintf(fields, "content-type: application/json\r\nmcp-session-id: s%ld-%08lx\r\n", ++sessions, random());
    answer(fd, "200 OK", fields, message);
  } else if (has(body, length, "\"subscriptions/listen\"")) {
    sprintf(message, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{\"notifications\":{\"toolsListChanged\":true},"
                     "\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":%s}}}", id);
    answer_events(fd, message, 0);
  } else if (has(body, length, "\"tools/list\"")) {
    sprintf(message, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"tools\":[{\"name\":\"echo\",\"description\":\"echo\",\"inputSchema\":"
                     "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}}}}]}}", id);
    answer(fd, "200 OK", "content-type: application/json\r\n", message);
  } else {
    sprintf(message, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}}", id, result);
    if (as_events) answer_events(fd, message, 1);
    else answer(fd, "200 OK", "content-type: application/json\r\n", message);
  }
}

static void respond(int fd, const char *head, const char *body, int length) {
  if (!strncmp(head, "POST ", 5)) post(fd, body, length);
  else if (!strncmp(head, "GET ", 4)) answer_events(fd, NULL, 0);
  else if (!strncmp(head, "DELETE ", 7)) answer(fd, "200 OK", "", "");
  else answer(fd, "405 Method Not Allowed", "", "");
}

// Answer every whole request in the buffer. Bodies have a content-length here, or there is none.
static void consume(int fd, Connection *c) {
  char *start = c->data, *end;
  while ((end = strstr(start, "\r\n\r\n"))) {
    char *body = end + 4, *field = strcasestr(start, "\r\ncontent-length:");
    int length = field && field < end ? atoi(field + 17) : 0;
    if (c->data + c->length - body < length) break;
    respond(fd, start, body, length);
    start = body + length;
  }
  c->length -= start - c->data;
  memmove(c->data, start, c->length + 1);
}

static void readable(int fd) {
  Connection *c = connections[fd];
  if (c->length == c->capacity) c->data = realloc(c->data, (c->capacity *= 2) + 1);
  int got = read(fd, c->data + c->length, c->capacity - c->length);
  if (got <= 0) { if (got == 0 || errno != EAGAIN) drop(fd); return; }
  c->length += got;
  c->data[c->length] = 0;
  consume(fd, c);
}

static void accept_all(int listener, int poller) {
  int fd, yes = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    if (fd >= MAX_FD) { close(fd); continue; }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    connections[fd] = malloc(sizeof(Connection));
    *connections[fd] = (Connection){.data = calloc(1, FIRST_BUFFER + 1), .capacity = FIRST_BUFFER};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  }
}

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) { perror("upstream_http"); exit(1); }
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 4) { fprintf(stderr, "usage: upstream_http PORT RESULT_BYTES json|sse\n"); return 2; }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int bytes = atoi(argv[2]), listener = listen_on(atoi(argv[1])), poller = epoll_create1(0);
  as_events = !strcmp(argv[3], "sse");
  result = malloc(bytes + 1);
  memset(result, 'x', bytes);
  result[bytes] = 0;
  out = malloc(bytes + 4096);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int ready = epoll_wait(poller, events, EVENTS, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.fd == listener) accept_all(listener, poller);
      else if (connections[events[i].data.fd]) readable(events[i].data.fd);
    }
  }
}
