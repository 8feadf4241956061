import { defineConfig } from 'vitest/config';
import { COMPILE_CACHE } from './cli/compileCache.ts';

/** What it measures must not be disturbed by other tests. */
const ALONE = ['test/store/overload.test.ts'];

export default defineConfig({
  test: {
    // What needs a cluster with Sidekey in it has a configuration of its own (make e2e).
    exclude: ['**/node_modules/**', 'dist/**', 'test/cluster/e2e/**'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    pool: 'forks',
    // Programs of ours that tests start, from sources, are compiled once.
    env: { NODE_COMPILE_CACHE: COMPILE_CACHE },
    reporters: ['default'],
    projects: [
      {
        extends: true,
        test: {
          name: 'tests',
          include: ['{api,lib,operator,store,sidecar,webhook,cli,test}/**/*.test.ts'],
          exclude: ALONE,
          // Most files wait for real servers more than they compute: two at a time leave two cores idle for half of it.
          maxWorkers: 3,
        },
      },
      { extends: true, test: { name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
});
