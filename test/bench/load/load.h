/* The load generator of the bench: one thread, epoll, no proxy code in it. See main.c for its options. */
#ifndef LOAD_H
#define LOAD_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum via { VIA_PLAIN, VIA_TLS, VIA_CONNECT };

struct options {
  int port;              /* on 127.0.0.1: the contender, or the upstream itself */
  enum via via;
  const char *authority; /* host:port of the upstream: Host field and CONNECT target */
  const char *sni;
  const char *host;      /* Host field, if it is not the authority */
  const char *path;
  const char *bearer;    /* what the client itself puts into Authorization */
  int connections;
  double seconds;        /* length of the measurement */
  double warmup_seconds; /* before it, not counted */
  double rate;           /* requests/s of an open loop; 0: closed loop */
  long limit;            /* most requests; 0: any number */
  bool fresh;            /* a new connection for each request */
  bool retry;            /* until the first 200, which ends the run */
  int64_t upload_bytes;  /* POST of so many; 0: GET */
  int64_t expect_bytes;  /* length of each answer's body; -1: any */
  int pids[64];          /* whose CPU time is read at both ends of the measurement */
  int pid_count;
};

enum state { CLOSED, CONNECTING, TUNNEL_ASK, TUNNEL_ANSWER, HANDSHAKE, IDLE, SENDING, HEAD, BODY };

struct connection {
  int fd;
  SSL *ssl;
  enum state state;
  size_t sent;             /* of the head (or CONNECT) */
  int64_t upload_left, body_left;
  uint64_t since_ns;       /* when the request was due */
  int status;
  int64_t body_bytes;
  size_t filled;
  char head[16384];
};

/* connection.c: a connection moves on until it would block; these two are called back. */
void connection_setup(const struct options *options);
void connection_open(struct connection *connection, int epoll_fd);
void connection_close(struct connection *connection);
void connection_send(struct connection *connection, uint64_t since_ns); /* sets it going; follow with step */
void connection_step(struct connection *connection);
extern void on_ready(struct connection *connection);
extern void on_answer(struct connection *connection);
extern void on_failure(struct connection *connection, const char *reason);

/* measure.c */
uint64_t now_ns(void);
double cpu_ms(const struct options *options);
void samples_reset(void);
void samples_add(uint64_t ns);
void samples_sort(void);
double samples_us(double quantile);

#endif
