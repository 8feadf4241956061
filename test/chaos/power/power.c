/*
 * A disk that forgets: LD_PRELOAD it to have a process lose, at a moment that is given, what it wrote and did not fsync.
 *
 *   POWER_DIR      only files below it
 *   POWER_FAIL_AT  the operation (write, truncate, create, rename, unlink or fsync) that the power fails before; 0: never
 *   POWER_SEED     which of the unsynced sectors survive all the same, for a disk writes in whatever order it likes
 *   POWER_KEEP     how many of 100 of them do
 *   POWER_LIE      1: fsync says yes and does nothing, as a disk that lies
 *   POWER_EIO_AT   the fsync that fails with EIO; what it was to write is dropped, and the next one says yes (as Linux does)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 4096
#define SECTOR 512

enum kind { WRITE, TRUNCATE, CREATE, RENAME, UNLINK };

struct record {
  struct record *next;
  enum kind kind;
  int doomed;
  dev_t dev;
  ino_t ino;
  char *path;  /* of the file; for RENAME where it is now */
  char *other; /* where it was (RENAME) */
  char *kept;  /* a link to what was under the name before (RENAME, UNLINK) */
  off_t at;
  size_t length, old_length;
  off_t old_size;
  char *old, *fresh;
};

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *paths[FDS];
/* Newest first. */
static struct record *records;
static char dir[PATH_MAX];
static long fail_at, eio_at, operations, syncs, links;
static int lies, keep;
static unsigned int seed;

static void *find(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (found == NULL) abort();
  return found;
}

static long number(const char *name) {
  const char *text = getenv(name);
  return text == NULL ? 0 : atol(text);
}

static void ready(void) {
  if (real_write != NULL) return;
  real_pwrite = find("pwrite64");
  real_writev = find("writev");
  real_open = find("open64");
  real_close = find("close");
  real_fsync = find("fsync");
  real_fdatasync = find("fdatasync");
  real_ftruncate = find("ftruncate64");
  real_rename = find("rename");
  real_unlink = find("unlink");
  real_write = find("write");
}

__attribute__((constructor)) static void start(void) {
  ready();
  const char *text = getenv("POWER_DIR");
  if (text == NULL || realpath(text, dir) == NULL) return;
  fail_at = number("POWER_FAIL_AT");
  eio_at = number("POWER_EIO_AT");
  lies = (int)number("POWER_LIE");
  keep = (int)number("POWER_KEEP");
  seed = (unsigned int)number("POWER_SEED");
}

static int tracked_path(const char *path) {
  size_t length = strlen(dir);
  return length > 0 && strncmp(path, dir, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static const char *tracked(int fd) { return fd >= 0 && fd < FDS ? paths[fd] : NULL; }

static struct record *add(enum kind kind, const char *path, int fd) {
  struct record *record = calloc(1, sizeof *record);
  struct stat status;
  record->kind = kind;
  record->path = strdup(path);
  if (fd >= 0 && fstat(fd, &status) == 0) {
    record->dev = status.st_dev;
    record->ino = status.st_ino;
    record->old_size = status.st_size;
  }
  record->next = records;
  records = record;
  return record;
}

static void drop(struct record **place) {
  struct record *record = *place;
  *place = record->next;
  /* The new name is for good: what is older and has to be taken back is found under it. */
  if (record->kind == RENAME)
    for (struct record *before = record->next; before != NULL; before = before->next)
      if (strcmp(before->path, record->other) == 0) {
        free(before->path);
        before->path = strdup(record->path);
      }
  if (record->kept != NULL) real_unlink(record->kept);
  free(record->path);
  free(record->other);
  free(record->kept);
  free(record->old);
  free(record->fresh);
  free(record);
}

/* The file of a record, unless another one has its name by now. */
static int reopen(struct record *record) {
  struct stat status;
  int fd = real_open(record->path, O_RDWR);
  if (fd >= 0 && fstat(fd, &status) == 0 && status.st_ino == record->ino && status.st_dev == record->dev) return fd;
  return -1;
}

/* Takes back what a record did. The process is about to end: locks on its files do not matter any more. */
static void undo(struct record *record) {
  if (record->kind == CREATE) real_unlink(record->path);
  if (record->kind == RENAME) real_rename(record->path, record->other);
  if ((record->kind == RENAME || record->kind == UNLINK) && record->kept != NULL) real_rename(record->kept, record->path);
  if (record->kind != WRITE && record->kind != TRUNCATE) return;
  int fd = reopen(record);
  if (fd < 0) return;
  if (record->old_length > 0 && real_pwrite(fd, record->old, record->old_length, record->at) < 0) abort();
  if (real_ftruncate(fd, record->old_size) < 0) abort();
}

/* Some sectors of a write that had got to the disk. */
static void redo(struct record *record) {
  if (record->kind != WRITE || record->doomed) return;
  int fd = reopen(record);
  if (fd < 0) return;
  for (size_t at = 0; at < record->length; at += SECTOR) {
    size_t length = record->length - at < SECTOR ? record->length - at : SECTOR;
    if (rand_r(&seed) % 100 < keep && real_pwrite(fd, record->fresh + at, length, record->at + (off_t)at) < 0) abort();
  }
}

static void redo_in_order(struct record *record) {
  if (record == NULL) return;
  redo_in_order(record->next);
  redo(record);
}

static void forget_all(int doomed_alone) {
  for (struct record *record = records; record != NULL; record = record->next)
    if (record->doomed || !doomed_alone) undo(record);
  if (!doomed_alone && keep > 0) redo_in_order(records);
}

/* Called with the lock held, before each operation. */
static void operation(void) {
  operations += 1;
  if (fail_at == 0 || operations < fail_at) return;
  forget_all(0);
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* What fsync has dropped is gone once the process is, if not before. */
__attribute__((destructor)) static void end(void) {
  pthread_mutex_lock(&lock);
  forget_all(1);
  pthread_mutex_unlock(&lock);
}

static void before_write(int fd, const char *path, const void *bytes, size_t length, off_t at) {
  operation();
  struct record *record = add(WRITE, path, fd);
  /* What is written once more is not lost any more for having been dropped. */
  for (struct record **place = &record->next; *place != NULL;) {
    struct record *before = *place;
    if (before->doomed && before->ino == record->ino && before->dev == record->dev && before->at == at && before->length == length) drop(place);
    else place = &before->next;
  }
  record->at = at;
  record->length = length;
  record->fresh = malloc(length);
  memcpy(record->fresh, bytes, length);
  record->old = malloc(length);
  ssize_t found = pread(fd, record->old, length, at);
  if (found < 0 && errno == EBADF) {
    int other = real_open(path, O_RDONLY);
    found = other < 0 ? 0 : pread(other, record->old, length, at);
    if (other >= 0) real_close(other);
  }
  record->old_length = found > 0 ? (size_t)found : 0;
}

static ssize_t positioned_write(int fd, const void *bytes, size_t length, off_t at) {
  ready();
  const char *path = tracked(fd);
  if (path == NULL) return real_pwrite(fd, bytes, length, at);
  pthread_mutex_lock(&lock);
  before_write(fd, path, bytes, length, at);
  ssize_t written = real_pwrite(fd, bytes, length, at);
  pthread_mutex_unlock(&lock);
  return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return positioned_write(fd, bytes, length, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) { return positioned_write(fd, bytes, length, at); }

ssize_t write(int fd, const void *bytes, size_t length) {
  ready();
  const char *path = tracked(fd);
  if (path == NULL) return real_write(fd, bytes, length);
  pthread_mutex_lock(&lock);
  off_t at = fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
  before_write(fd, path, bytes, length, at);
  ssize_t written = real_write(fd, bytes, length);
  pthread_mutex_unlock(&lock);
  return written;
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
  ready();
  if (tracked(fd) == NULL) return real_writev(fd, pieces, count);
  ssize_t total = 0;
  for (int n = 0; n < count; n += 1) {
    ssize_t written = write(fd, pieces[n].iov_base, pieces[n].iov_len);
    if (written < 0) return total > 0 ? total : written;
    total += written;
  }
  return total;
}

static int truncate_at(int fd, off_t size) {
  ready();
  const char *path = tracked(fd);
  if (path == NULL) return real_ftruncate(fd, size);
  pthread_mutex_lock(&lock);
  operation();
  struct record *record = add(TRUNCATE, path, fd);
  if (record->old_size > size) {
    record->at = size;
    record->old = malloc((size_t)(record->old_size - size));
    ssize_t found = pread(fd, record->old, (size_t)(record->old_size - size), size);
    if (found < 0) {
      int other = real_open(path, O_RDONLY);
      found = other < 0 ? 0 : pread(other, record->old, (size_t)(record->old_size - size), size);
      if (other >= 0) real_close(other);
    }
    record->old_length = found > 0 ? (size_t)found : 0;
  }
  int result = real_ftruncate(fd, size);
  pthread_mutex_unlock(&lock);
  return result;
}

int ftruncate(int fd, off_t size) { return truncate_at(fd, size); }
int ftruncate64(int fd, off_t size) { return truncate_at(fd, size); }

static int open_at(const char *path, int flags, mode_t mode) {
  ready();
  char whole[PATH_MAX];
  if (path[0] == '/') snprintf(whole, sizeof whole, "%s", path);
  else if (getcwd(whole, sizeof whole) == NULL) return real_open(path, flags, mode);
  else if (snprintf(whole + strlen(whole), sizeof whole - strlen(whole), "/%s", path) < 0) abort();
  if (!tracked_path(whole)) return real_open(path, flags, mode);
  pthread_mutex_lock(&lock);
  int is_new = (flags & O_CREAT) && access(whole, F_OK) != 0;
  if (is_new) operation();
  int fd = real_open(path, flags & ~O_TRUNC, mode);
  if (fd >= 0 && fd < FDS) {
    free(paths[fd]);
    paths[fd] = strdup(whole);
    if (is_new) add(CREATE, whole, fd);
  }
  pthread_mutex_unlock(&lock);
  if (fd >= 0 && (flags & O_TRUNC) && !is_new) truncate_at(fd, 0);
  return fd;
}

#define OPEN(name)                                    \
  int name(const char *path, int flags, ...) {        \
    mode_t mode = 0;                                  \
    if (flags & (O_CREAT | __O_TMPFILE)) {            \
      va_list rest;                                   \
      va_start(rest, flags);                          \
      mode = va_arg(rest, mode_t);                    \
      va_end(rest);                                   \
    }                                                 \
    return open_at(path, flags, mode);                \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  ready();
  pthread_mutex_lock(&lock);
  if (fd >= 0 && fd < FDS) {
    free(paths[fd]);
    paths[fd] = NULL;
  }
  int result = real_close(fd);
  pthread_mutex_unlock(&lock);
  return result;
}

/* The directory that holds the name. */
static int is_in(const char *path, const char *parent) {
  const char *slash = strrchr(path, '/');
  return slash != NULL && (size_t)(slash - path) == strlen(parent) && strncmp(path, parent, strlen(parent)) == 0;
}

static int sync_at(int fd, int (*real)(int)) {
  ready();
  const char *path = tracked(fd);
  if (path == NULL) return real(fd);
  pthread_mutex_lock(&lock);
  operation();
  syncs += 1;
  int fails = eio_at > 0 && syncs == eio_at;
  struct stat status;
  fstat(fd, &status);
  if (!lies) {
    for (struct record **place = &records; *place != NULL;) {
      struct record *record = *place;
      int names = record->kind != WRITE && record->kind != TRUNCATE;
      int mine = S_ISDIR(status.st_mode) ? names && (is_in(record->path, path) || (record->other && is_in(record->other, path)))
                                         : !names && record->ino == status.st_ino && record->dev == status.st_dev;
      if (mine && fails) record->doomed = 1;
      if (mine && !fails && !record->doomed) drop(place);
      else place = &record->next;
    }
  }
  pthread_mutex_unlock(&lock);
  if (fails) {
    errno = EIO;
    return -1;
  }
  return 0;
}

int fsync(int fd) { return sync_at(fd, real_fsync); }
int fdatasync(int fd) { return sync_at(fd, real_fdatasync); }

/* What is under a name, kept under another one outside of what is looked at. */
static char *keep_link(const char *path) {
  char name[PATH_MAX + 32];
  snprintf(name, sizeof name, "%s.power-%d-%ld", path, getpid(), links++);
  return link(path, name) == 0 ? strdup(name) : NULL;
}

int rename(const char *from, const char *to) {
  ready();
  if (!tracked_path(from) || !tracked_path(to)) return real_rename(from, to);
  pthread_mutex_lock(&lock);
  operation();
  char *kept = keep_link(to);
  int result = real_rename(from, to);
  if (result == 0) {
    struct record *record = add(RENAME, to, -1);
    record->other = strdup(from);
    record->kept = kept;
  } else {
    int problem = errno;
    if (kept != NULL) real_unlink(kept);
    free(kept);
    errno = problem;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int unlink(const char *path) {
  ready();
  if (!tracked_path(path)) return real_unlink(path);
  pthread_mutex_lock(&lock);
  operation();
  char *kept = keep_link(path);
  int result = real_unlink(path);
  if (result == 0) {
    struct record *record = add(UNLINK, path, -1);
    record->kept = kept;
  } else {
    int problem = errno;
    if (kept != NULL) real_unlink(kept);
    free(kept);
    errno = problem;
  }
  pthread_mutex_unlock(&lock);
  return result;
}
