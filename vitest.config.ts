import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{api,lib,operator,store,sidecar,webhook,cli,test}/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'dist/**'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['default'],
  },
});
