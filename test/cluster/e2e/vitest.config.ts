import { defineConfig } from 'vitest/config';

/** One cluster for all files, one file after the other: what is measured is not disturbed by what else is tested. */
export default defineConfig({
  test: {
    root: new URL('../../../', import.meta.url).pathname,
    include: ['test/cluster/e2e/*.test.ts'],
    globalSetup: ['test/cluster/e2e/setup.ts'],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 180_000,
    pool: 'forks',
    reporters: ['default'],
  },
});
