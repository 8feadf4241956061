/* One client connection as a state machine: TCP, CONNECT, TLS, then requests one after another. Edge-triggered. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct options *options;
static SSL_CTX *context;
static char request[4096], tunnel[512];
static size_t request_length, tunnel_length;
static char scratch[262144]; /* body bytes that come in, and what is uploaded */

enum { BLOCKED = -1, ENDED = -2 };

/* The same TLS for every contender: 1.3, AES-128-GCM, X25519, no resumption (a new agent process has no session). */
void connection_setup(const struct options *given) {
  options = given;
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set1_groups_list(context, "X25519:P-256");
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\x08http/1.1", 9);

  uint32_t noise = 0x5eed;
  for (size_t i = 0; i < sizeof scratch; i++) scratch[i] = (char)((noise = noise * 1664525u + 1013904223u) >> 24);

  /* What an SDK sends, so that every contender has a usual head to parse. */
  int length = snprintf(request, sizeof request,
                        "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nAccept-Language: *\r\n"
                        "User-Agent: bench/1.0 (load generator)\r\nX-Client-Lang: c\r\nX-Client-Version: 1.0.0\r\n"
                        "X-Request-Attempt: 0\r\nAuthorization: Bearer %s\r\n",
                        options->upload_bytes ? "POST" : "GET", options->path,
                        options->host ? options->host : options->authority, options->bearer);
  if (options->upload_bytes)
    length += snprintf(request + length, sizeof request - (size_t)length,
                       "Content-Type: application/octet-stream\r\nContent-Length: %lld\r\n", (long long)options->upload_bytes);
  length += snprintf(request + length, sizeof request - (size_t)length, "\r\n");
  request_length = (size_t)length;
  tunnel_length = (size_t)snprintf(tunnel, sizeof tunnel, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", options->authority, options->authority);
}

static ssize_t settle(ssize_t got) {
  if (got > 0) return got;
  if (got == 0) return ENDED;
  return errno == EAGAIN || errno == EWOULDBLOCK ? BLOCKED : ENDED;
}

static ssize_t settle_tls(SSL *ssl, int got) {
  if (got > 0) return got;
  int error = SSL_get_error(ssl, got);
  ERR_clear_error();
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? BLOCKED : ENDED;
}

static ssize_t get(struct connection *c, void *into, size_t length) {
  if (c->ssl) return settle_tls(c->ssl, SSL_read(c->ssl, into, (int)length));
  return settle(recv(c->fd, into, length, 0));
}

static ssize_t put(struct connection *c, const void *from, size_t length) {
  if (c->ssl) return settle_tls(c->ssl, SSL_write(c->ssl, from, (int)length));
  return settle(send(c->fd, from, length, MSG_NOSIGNAL));
}

void connection_open(struct connection *c, int epoll_fd) {
  memset(c, 0, offsetof(struct connection, head));
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int on = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  c->state = CONNECTING;
  int result = connect(c->fd, (struct sockaddr *)&address, sizeof address);
  if (result < 0 && errno != EINPROGRESS) {
    on_failure(c, strerror(errno));
    return;
  }
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

void connection_close(struct connection *c) {
  if (c->state == CLOSED) return;
  if (c->ssl) {
    if (c->state >= IDLE) SSL_shutdown(c->ssl);
    ERR_clear_error();
    SSL_free(c->ssl);
    c->ssl = NULL;
  }
  close(c->fd);
  c->state = CLOSED;
}

void connection_send(struct connection *c, uint64_t since_ns) {
  c->since_ns = since_ns;
  c->sent = c->filled = 0;
  c->upload_left = options->upload_bytes;
  c->state = SENDING;
}

/* Writes of `text` what is left. True when all is written. */
static bool write_text(struct connection *c, const char *text, size_t length, bool *blocked) {
  while (c->sent < length) {
    ssize_t wrote = put(c, text + c->sent, length - c->sent);
    if (wrote == BLOCKED) return *blocked = true, false;
    if (wrote == ENDED) return false;
    c->sent += (size_t)wrote;
  }
  return true;
}

/* Reads until an empty line. Returns the head's length, BLOCKED, or ENDED. */
static ssize_t read_head(struct connection *c) {
  for (;;) {
    ssize_t got = get(c, c->head + c->filled, sizeof c->head - 1 - c->filled);
    if (got < 0) return got;
    c->filled += (size_t)got;
    char *end = memmem(c->head, c->filled, "\r\n\r\n", 4);
    if (end) return end + 4 - c->head;
    if (c->filled == sizeof c->head - 1) return ENDED;
  }
}

static bool parse_head(struct connection *c, size_t length) {
  char last = c->head[length - 1];
  c->head[length - 1] = 0;
  if (sscanf(c->head, "HTTP/1.1 %3d", &c->status) != 1) return false;
  const char *field = strcasestr(c->head, "\r\ncontent-length:");
  c->head[length - 1] = last;
  if (field == NULL) return false;
  c->body_bytes = strtoll(field + 17, NULL, 10);
  c->body_left = c->body_bytes - (int64_t)(c->filled - length);
  return c->body_left >= 0;
}

#define FAIL(reason) do { on_failure(c, reason); return; } while (0)

void connection_step(struct connection *c) {
  bool blocked = false;
  ssize_t got;
  for (;;) switch (c->state) {
    case CLOSED:
      return;
    case CONNECTING: {
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
      if (error) FAIL(strerror(error));
      struct sockaddr_in peer;
      size = sizeof peer;
      if (getpeername(c->fd, (struct sockaddr *)&peer, &size) < 0) return; /* not yet */
      c->state = options->via == VIA_CONNECT ? TUNNEL_ASK : HANDSHAKE;
      break;
    }
    case TUNNEL_ASK:
      if (!write_text(c, tunnel, tunnel_length, &blocked)) {
        if (blocked) return;
        FAIL("closed while CONNECT was sent");
      }
      c->state = TUNNEL_ANSWER;
      break;
    case TUNNEL_ANSWER:
      got = read_head(c);
      if (got == BLOCKED) return;
      if (got == ENDED || strncmp(c->head, "HTTP/1.1 200", 12) != 0 || (size_t)got != c->filled) {
        c->head[c->filled] = 0;
        c->head[strcspn(c->head, "\r\n")] = 0;
        FAIL(c->filled ? c->head : "closed instead of an answer to CONNECT");
      }
      c->state = HANDSHAKE;
      break;
    case HANDSHAKE:
      if (options->via != VIA_PLAIN) {
        if (c->ssl == NULL) {
          c->ssl = SSL_new(context);
          SSL_set_fd(c->ssl, c->fd);
          SSL_set_tlsext_host_name(c->ssl, options->sni);
        }
        ssize_t done = settle_tls(c->ssl, SSL_connect(c->ssl));
        if (done == BLOCKED) return;
        if (done == ENDED) FAIL("TLS handshake failed");
      }
      c->state = IDLE;
      on_ready(c);
      if (c->state == IDLE) return;
      break;
    case IDLE: /* TLS session tickets, or the end */
      got = get(c, scratch, 1);
      if (got == BLOCKED) return;
      FAIL(got == ENDED ? "an idle connection was closed" : "bytes without a request");
    case SENDING:
      if (!write_text(c, request, request_length, &blocked)) {
        if (blocked) return;
        FAIL("closed while the request was sent");
      }
      while (c->upload_left > 0) {
        size_t piece = c->upload_left < (int64_t)sizeof scratch ? (size_t)c->upload_left : sizeof scratch;
        got = put(c, scratch, piece);
        if (got == BLOCKED) return;
        if (got == ENDED) FAIL("closed while the body was sent");
        c->upload_left -= got;
      }
      c->state = HEAD;
      break;
    case HEAD:
      got = read_head(c);
      if (got == BLOCKED) return;
      if (got == ENDED) FAIL("closed instead of an answer");
      if (!parse_head(c, (size_t)got)) FAIL("an answer without a usable head");
      c->state = BODY;
      break;
    case BODY:
      while (c->body_left > 0) {
        got = get(c, scratch, c->body_left < (int64_t)sizeof scratch ? (size_t)c->body_left : sizeof scratch);
        if (got == BLOCKED) return;
        if (got == ENDED) FAIL("closed within a body");
        c->body_left -= got;
      }
      c->state = IDLE;
      on_answer(c);
      if (c->state == IDLE) return;
      break;
    }
}
