import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/** Above this share of one core, taken by processes that are not ours, results say so. */
export const QUIET_SHARE = 0.1;

/** Watches how much of the machine other processes take meanwhile: numbers of a busy machine mean little. */
export class Others {
  readonly #begin = now();

  /** Share of one core that went to others since this was made (0.5: half a core). Counts what of ours has not ended yet as others'. */
  share(): number {
    const end = now();
    const others = end.busyMs - this.#begin.busyMs - (end.ownMs - this.#begin.ownMs);
    return Math.max(0, others / (end.atMs - this.#begin.atMs));
  }
}

function now() {
  let busyMs = 0;
  for (const { times } of cpus()) busyMs += times.user + times.nice + times.sys + times.irq;
  // User and system time of this process and of its children that have ended (proc_pid_stat(5), fields 14 to 17), in 1/100 s.
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1)!.split(' ');
  const ownMs = fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * 10, 0);
  return { atMs: performance.now(), busyMs, ownMs };
}
