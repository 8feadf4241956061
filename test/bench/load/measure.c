/* Clocks, the CPU time of other processes, and latencies kept one by one (so percentiles are exact). */
#include "load.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* User and system time of the process in ms, from /proc/<pid>/stat (proc_pid_stat(5), fields 14 and 15): in steps of 10 ms. */
static double coarse_cpu_ms(int pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (file == NULL) return 0;
  size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = 0;
  unsigned long user = 0, system = 0;
  const char *rest = strrchr(text, ')'); /* the name before it may hold anything */
  if (rest) sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return (double)(user + system) * 1000.0 / (double)sysconf(_SC_CLK_TCK);
}

/* The same of each thread in nanoseconds (/proc/<pid>/task/<tid>/schedstat, first field), as short rows need it. */
static double process_cpu_ms(int pid) {
  char path[128];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *threads = opendir(path);
  if (threads == NULL) return 0;
  double total = 0;
  for (struct dirent *entry; (entry = readdir(threads)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, entry->d_name);
    FILE *file = fopen(path, "r");
    unsigned long long ns = 0;
    if (file == NULL) continue;
    if (fscanf(file, "%llu", &ns) == 1) total += (double)ns / 1e6;
    fclose(file);
  }
  closedir(threads);
  return total > 0 ? total : coarse_cpu_ms(pid); /* kernels without schedstat */
}

double cpu_ms(const struct options *options) {
  double total = 0;
  for (int i = 0; i < options->pid_count; i++) total += process_cpu_ms(options->pids[i]);
  return total;
}

static uint32_t *samples;
static size_t count, capacity;

void samples_reset(void) { count = 0; }

void samples_add(uint64_t ns) {
  if (count == capacity) {
    capacity = capacity ? capacity * 2 : 65536;
    samples = realloc(samples, capacity * sizeof *samples);
    if (samples == NULL) abort();
  }
  uint64_t tenths = ns / 100; /* tenths of a microsecond: 32 bits last for 429 s */
  samples[count++] = tenths > UINT32_MAX ? UINT32_MAX : (uint32_t)tenths;
}

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

void samples_sort(void) {
  if (count) qsort(samples, count, sizeof *samples, compare);
}

double samples_us(double quantile) {
  if (count == 0) return 0;
  size_t index = (size_t)(quantile * (double)count);
  return samples[index < count ? index : count - 1] / 10.0;
}
