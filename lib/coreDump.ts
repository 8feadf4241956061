import { writeFileSync } from 'node:fs';

/**
 * Leaves the memory of this process out of core dumps on Linux (core(5), coredump_filter): also out of those that the kernel pipes to
 * a program, for which RLIMIT_CORE counts only as far as that program likes. The limit itself is set where the process is started.
 */
export function keepOutOfCoreDumps(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0');
  } catch {
    // Not Linux, or no /proc: the limit is what there is.
  }
}
