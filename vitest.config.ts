import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{api,lib,operator,store,sidecar,webhook,cli,test}/**/*.test.ts'],
    // What needs a cluster with Sidekey in it has a configuration of its own, and runs after (make e2e).
    exclude: ['**/node_modules/**', 'dist/**', 'test/cluster/e2e/**'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['default'],
  },
});
