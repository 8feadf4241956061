/*
 * load: requests over N client connections, in a closed loop or at a fixed rate, with every answer's status and length checked.
 *
 * Prints one JSON object. In the open loop a latency runs from when the request was due, not from when it could be sent, so a
 * stall counts for every request that it held up. CPU time is that of the processes given with --pids, within the measurement.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 1024, MAX_FAILURES = 50, GRACE_SECONDS = 5 };

static struct options options = {.connections = 32, .seconds = 3, .expect_bytes = -1, .path = "/", .bearer = "none"};
static struct connection *connections;
static int epoll_fd, timer_fd = -1;
static long answered, failed, sent;
static int64_t bytes;
static char first_failure[200];
static uint64_t begin_ns, measured_ns, end_ns, last_ns;
static double cpu_before;
static bool measuring, finished;
/* Open loop: idle connections, last used first, and requests that are due while none is idle. */
static struct connection *idle[MAX_CONNECTIONS];
static int idle_count;
static long due, overdue_from;

static void begin_measuring(uint64_t now) {
  measuring = true;
  answered = failed = 0;
  bytes = 0;
  samples_reset();
  measured_ns = now;
  end_ns = now + (uint64_t)(options.seconds * 1e9);
  cpu_before = cpu_ms(&options);
}

static uint64_t due_at(long index) { return begin_ns + (uint64_t)((double)index * 1e9 / options.rate); }

static void send_or_rest(struct connection *c) {
  uint64_t now = now_ns();
  if (!measuring && now >= begin_ns + (uint64_t)(options.warmup_seconds * 1e9)) begin_measuring(now);
  if ((measuring && now >= end_ns) || (options.limit && sent >= options.limit)) return;
  if (options.rate == 0) {
    sent++;
    connection_send(c, now);
  } else if (overdue_from < due) {
    connection_send(c, due_at(overdue_from++));
  } else {
    idle[idle_count++] = c;
  }
}

void on_ready(struct connection *c) { send_or_rest(c); }

static void settle_all(uint64_t now) {
  last_ns = now;
  bool limit_reached = options.limit && answered + failed >= options.limit;
  finished = finished || limit_reached || failed > MAX_FAILURES;
}

void on_answer(struct connection *c) {
  uint64_t now = now_ns();
  bool right = c->status == 200 && (options.expect_bytes < 0 || c->body_bytes == options.expect_bytes);
  if (!right) {
    char reason[80];
    snprintf(reason, sizeof reason, "status %d with %lld bytes", c->status, (long long)c->body_bytes);
    on_failure(c, reason);
    return;
  }
  answered++;
  bytes += c->body_bytes + options.upload_bytes;
  samples_add(now - c->since_ns);
  settle_all(now);
  if (options.fresh) connection_close(c);
  else if (!finished) send_or_rest(c);
}

void on_failure(struct connection *c, const char *reason) {
  if (first_failure[0] == 0) snprintf(first_failure, sizeof first_failure, "%s", reason);
  connection_close(c);
  for (int i = 0; i < idle_count; i++)
    if (idle[i] == c) idle[i--] = idle[--idle_count];
  if (options.retry) {
    sent = 0;
  } else {
    failed++;
    settle_all(now_ns());
  }
}

/* Opens what is closed: at the start, after a failure, and for each request if connections are fresh. */
static void open_closed(uint64_t now) {
  if ((measuring && now >= end_ns) || (options.limit && sent >= options.limit)) return;
  if (options.retry && first_failure[0] && connections[0].state == CLOSED) usleep(500);
  for (int i = 0; i < options.connections && !finished; i++)
    if (connections[i].state == CLOSED) connection_open(&connections[i], epoll_fd);
}

/* Starts what has become due, and sets the timer to the next. */
static void tick(void) {
  uint64_t now = now_ns(), expirations;
  if (read(timer_fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN) abort();
  if (!measuring && now >= begin_ns + (uint64_t)(options.warmup_seconds * 1e9)) begin_measuring(now);
  while (due_at(due) <= now && (!measuring || due_at(due) < end_ns)) due++;
  while (overdue_from < due && idle_count > 0) {
    struct connection *c = idle[--idle_count];
    connection_send(c, due_at(overdue_from++));
    connection_step(c);
  }
  uint64_t next = due_at(due);
  struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(next / 1000000000u), .tv_nsec = (long)(next % 1000000000u)}};
  timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static bool busy(void) {
  for (int i = 0; i < options.connections; i++)
    if (connections[i].state > IDLE) return true;
  return overdue_from < due;
}

static void run(void) {
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  begin_ns = now_ns();
  if (options.warmup_seconds == 0 || options.limit) begin_measuring(begin_ns);
  if (options.rate > 0) {
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event);
    tick();
  }
  uint64_t give_up = begin_ns + (uint64_t)((options.warmup_seconds + options.seconds + GRACE_SECONDS) * 1e9);
  struct epoll_event events[256];
  for (uint64_t now = begin_ns; !finished; now = now_ns()) {
    open_closed(now);
    int count = epoll_wait(epoll_fd, events, 256, options.retry ? 1 : 20);
    for (int i = 0; i < count && !finished; i++) {
      if (events[i].data.ptr == NULL) tick();
      else connection_step(events[i].data.ptr);
    }
    if (measuring && now >= end_ns && (options.retry || !busy())) finished = true;
    if (now >= give_up) finished = true;
  }
  if (last_ns == 0) last_ns = now_ns();
}

static void print_result(void) {
  double cpu = cpu_ms(&options) - cpu_before;
  long unanswered = 0;
  for (int i = 0; i < options.connections; i++) unanswered += connections[i].state > IDLE;
  samples_sort();
  for (char *p = first_failure; *p; p++)
    if (*p == '"' || *p == '\\' || (unsigned char)*p < 0x20) *p = '\'';
  printf("{\"requests\":%ld,\"failed\":%ld,\"unanswered\":%ld,\"bytes\":%lld,\"seconds\":%.6f,\"cpuMs\":%.3f,"
         "\"p50Us\":%.1f,\"p99Us\":%.1f,\"maxUs\":%.1f,\"lastNs\":\"%llu\",\"failure\":\"%s\"}\n",
         answered, failed, options.retry ? 0 : unanswered, (long long)bytes, (double)(last_ns - measured_ns) / 1e9, cpu,
         samples_us(0.5), samples_us(0.99), samples_us(1), (unsigned long long)last_ns, answered ? (failed ? first_failure : "") : first_failure);
}

int main(int argc, char **argv) {
  static const struct option names[] = {
      {"port", 1, 0, 'p'}, {"via", 1, 0, 'v'}, {"authority", 1, 0, 'a'}, {"sni", 1, 0, 's'}, {"host", 1, 0, 'h'},
      {"path", 1, 0, 'P'}, {"bearer", 1, 0, 'b'}, {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 't'},
      {"warmup", 1, 0, 'w'}, {"rate", 1, 0, 'r'}, {"limit", 1, 0, 'l'}, {"fresh", 0, 0, 'f'}, {"retry", 0, 0, 'R'},
      {"upload", 1, 0, 'u'}, {"expect", 1, 0, 'e'}, {"pids", 1, 0, 'i'}, {0}};
  int name;
  while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) switch (name) {
      case 'p': options.port = atoi(optarg); break;
      case 'v': options.via = strcmp(optarg, "plain") == 0 ? VIA_PLAIN : strcmp(optarg, "tls") == 0 ? VIA_TLS : VIA_CONNECT; break;
      case 'a': options.authority = optarg; break;
      case 's': options.sni = optarg; break;
      case 'h': options.host = optarg; break;
      case 'P': options.path = optarg; break;
      case 'b': options.bearer = optarg; break;
      case 'c': options.connections = atoi(optarg); break;
      case 't': options.seconds = atof(optarg); break;
      case 'w': options.warmup_seconds = atof(optarg); break;
      case 'r': options.rate = atof(optarg); break;
      case 'l': options.limit = atol(optarg); break;
      case 'f': options.fresh = true; break;
      case 'R': options.retry = true; options.connections = 1; options.limit = 1; break;
      case 'u': options.upload_bytes = atoll(optarg); break;
      case 'e': options.expect_bytes = atoll(optarg); break;
      case 'i':
        for (char *pid = strtok(optarg, ","); pid && options.pid_count < 64; pid = strtok(NULL, ","))
          options.pids[options.pid_count++] = atoi(pid);
        break;
      default: return 2;
    }
  if (options.port == 0 || options.authority == NULL || options.sni == NULL || options.connections < 1 || options.connections > MAX_CONNECTIONS) {
    fprintf(stderr, "load: needs --port, --authority, --sni and 1 to %d --connections\n", MAX_CONNECTIONS);
    return 2;
  }
  connections = calloc((size_t)options.connections, sizeof *connections);
  connection_setup(&options);
  run();
  print_result();
  return 0;
}
