// A closed loop over one pipe: N requests in flight, a new one for each that is answered, until the time is up.
//
//     pipe_load IN_FLIGHT SECONDS ARGUMENT_BYTES FIRST_ID
//
// The server's output is our standard input, its input our standard output; MCP's handshake is over already. Ids are never used twice.
// One line of JSON on standard error at the end. Answers that are no results, or that nobody waits for, are counted as errors.
// Exit code 1 if the server stopped answering or closed a pipe.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE (1 << 18)
#define PATIENCE_MS 10000

typedef struct { long id; double sent; } Waiting;

static Waiting *waiting;
static char *text, *out;
static int in_flight, outstanding, out_length, out_capacity;
static long next_id, first_id, answered, errors;
static unsigned *latencies, latency_capacity;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *why) {
  fprintf(stderr, "{\"failed\": \"%s\", \"requests\": %ld, \"outstanding\": %d}\n", why, answered, outstanding);
  exit(1);
}

// The slot of an id is its number modulo the number in flight: a slot's next id is its last one plus that number.
static void ask(long id) {
  int most = strlen(text) + 256;
  if (out_length + most > out_capacity) out = realloc(out, out_capacity = 2 * out_capacity + most);
  out_length += sprintf(out + out_length,
    "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"method\":\"tools/call\",\"params\":{\"name\":\"echo\",\"arguments\":{\"text\":\"%s\"}}}\n", id, text);
  waiting[(id - first_id) % in_flight] = (Waiting){.id = id, .sent = now()};
  outstanding++;
  if (id >= next_id) next_id = id + 1;
}

static void note(double seconds) {
  if (answered == latency_capacity) latencies = realloc(latencies, (latency_capacity = 2 * latency_capacity + 65536) * sizeof *latencies);
  latencies[answered++] = seconds * 1e6;
}

static void take(char *line, int more) {
  char *at = strstr(line, "\"id\":");
  if (!at) return;  // a notification
  long id = atol(at + 5);
  Waiting *slot = id >= first_id ? &waiting[(id - first_id) % in_flight] : NULL;
  if (!slot || slot->id != id) { errors++; return; }
  if (!strstr(line, "\"result\"")) errors++;
  note(now() - slot->sent);
  slot->id = -1;
  outstanding--;
  if (more) ask(id + in_flight);
}

static void flush(void) {
  int written = write(1, out, out_length);
  if (written < 0) { if (errno == EAGAIN) return; fail("the server closed its input"); }
  out_length -= written;
  memmove(out, out + written, out_length);
}

static void receive(int more) {
  static char *data;
  static int length, capacity;
  if (capacity - length < READ_SIZE) data = realloc(data, (capacity += READ_SIZE) + 1);
  int got = read(0, data + length, capacity - length);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) fail("the server closed its output");
  length += got;
  char *line = data, *newline;
  while ((newline = memchr(line, '\n', data + length - line))) {
    *newline = 0;
    take(line, more);
    line = newline + 1;
  }
  length -= line - data;
  memmove(data, line, length);
}

static int ascending(const void *a, const void *b) { return (*(unsigned *)a > *(unsigned *)b) - (*(unsigned *)a < *(unsigned *)b); }
static double milliseconds(double share) { return answered ? latencies[(long)((answered - 1) * share)] / 1e3 : 0; }

int main(int argc, char **argv) {
  if (argc != 5) { fprintf(stderr, "usage: pipe_load IN_FLIGHT SECONDS ARGUMENT_BYTES FIRST_ID\n"); return 2; }
  in_flight = atoi(argv[1]);
  double seconds = atof(argv[2]), start = now();
  int bytes = atoi(argv[3]);
  first_id = next_id = atol(argv[4]);
  signal(SIGPIPE, SIG_IGN);
  fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
  fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
  text = malloc(bytes + 1);
  memset(text, 'y', bytes);
  text[bytes] = 0;
  waiting = calloc(in_flight, sizeof *waiting);
  for (int i = 0; i < in_flight; i++) ask(first_id + i);
  while (outstanding) {
    struct pollfd ends[] = {{.fd = 0, .events = POLLIN}, {.fd = 1, .events = out_length ? POLLOUT : 0}};
    if (poll(ends, 2, PATIENCE_MS) == 0) fail("no answer within 10 s");
    if (ends[0].revents) receive(now() - start < seconds);
    if (out_length) flush();
  }
  double took = now() - start;
  qsort(latencies, answered, sizeof *latencies, ascending);
  fprintf(stderr, "{\"requests\": %ld, \"seconds\": %.6f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"errors\": %ld, \"next_id\": %ld}\n",
          answered, took, milliseconds(0.5), milliseconds(0.99), errors, next_id);
  return 0;
}
