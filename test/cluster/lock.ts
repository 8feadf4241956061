import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const RETRY_MS = 200;

/**
 * Runs `work` while no other process of this machine does so under the same name.
 *
 * The lock is an abstract socket: the kernel frees it with the process, however that ends, so that nothing is ever stale
 * (unix(7); Linux only, elsewhere there is no lock).
 */
export async function withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  if (process.platform !== 'linux') return work();
  for (;;) {
    const lock = createServer();
    try {
      lock.listen({ path: `\0sidekey-test-${name}` });
      await once(lock, 'listening');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      await delay(RETRY_MS);
      continue;
    }
    try {
      return await work();
    } finally {
      lock.close();
    }
  }
}
