// An MCP server on stdio that costs next to nothing: one message a line, no JSON parser.
//
//     upstream_stdio RESULT_BYTES
//
// A request -> a result that repeats its id; anything else -> nothing. It ends with its input.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_BUFFER (1 << 20)

static char *result;

// The length of the id as it was written, quotes and all; `*at` is where it begins.
static int find_id(char *line, char **at) {
  char *p = strstr(line, "\"id\":");
  if (!p || !strstr(line, "\"method\"")) return 0;
  for (p += 5; *p == ' '; p++) {}
  *at = p;
  if (*p == '"') { for (p++; *p && *p != '"'; p++) {} p++; }
  else while (*p && *p != ',' && *p != '}' && *p != ' ') p++;
  return p - *at;
}

static int answer(char *line, char *out) {
  char *id;
  int length = find_id(line, &id);
  if (!length) return 0;
  int n = sprintf(out, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":", length, id);
  if (strstr(line, "\"initialize\""))
    return n + sprintf(out + n, "{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"bench\",\"version\":\"1\"}}}\n");
  if (strstr(line, "\"tools/list\""))
    return n + sprintf(out + n, "{\"tools\":[{\"name\":\"echo\",\"description\":\"echo\",\"inputSchema\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}}}}]}}\n");
  return n + sprintf(out + n, "{\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}}\n", result);
}

static int write_all(const char *data, int length) {
  while (length > 0) {
    int written = write(1, data, length);
    if (written <= 0) return 0;
    data += written;
    length -= written;
  }
  return 1;
}

int main(int argc, char **argv) {
  int bytes = argc > 1 ? atoi(argv[1]) : 200, length = 0, capacity = FIRST_BUFFER, most = bytes + 1024;
  result = malloc(bytes + 1);
  memset(result, 'x', bytes);
  result[bytes] = 0;
  char *data = malloc(capacity + 1), *out = malloc(FIRST_BUFFER + most);
  for (;;) {
    if (length == capacity) data = realloc(data, (capacity *= 2) + 1);
    int got = read(0, data + length, capacity - length), ready = 0;
    if (got <= 0) return 0;
    length += got;
    data[length] = 0;
    char *line = data, *newline;
    while ((newline = memchr(line, '\n', data + length - line))) {
      *newline = 0;
      ready += answer(line, out + ready);
      line = newline + 1;
      if (ready >= FIRST_BUFFER) { if (!write_all(out, ready)) return 1; ready = 0; }
    }
    if (!write_all(out, ready)) return 1;
    length -= line - data;
    memmove(data, line, length);
  }
}
