import { defineConfig } from 'vitest/config';
import { COMPILE_CACHE } from './cli/compileCache.ts';

export default defineConfig({
  test: {
    include: ['{api,lib,operator,store,sidecar,webhook,cli,test}/**/*.test.ts'],
    // What needs a cluster with Sidekey in it has a configuration of its own, and runs after (make e2e).
    exclude: ['**/node_modules/**', 'dist/**', 'test/cluster/e2e/**'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    pool: 'forks',
    // Most files wait for real servers more than they compute: two at a time leave two cores idle for half of it.
    maxWorkers: 3,
    // Programs of ours that tests start, from sources, are compiled once.
    env: { NODE_COMPILE_CACHE: COMPILE_CACHE },
    reporters: ['default'],
  },
});
