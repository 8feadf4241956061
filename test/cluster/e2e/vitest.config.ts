import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** By name, but for what takes the release away. */
class Order extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => `${Number(moduleId.endsWith('/release.test.ts'))} ${moduleId}`;
    return [...files].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  }
}

/** One cluster for all files, one file after the other: what is measured is not disturbed by what else is tested. */
export default defineConfig({
  test: {
    root: new URL('../../../', import.meta.url).pathname,
    include: ['test/cluster/e2e/*.test.ts'],
    globalSetup: ['test/cluster/e2e/setup.ts'],
    setupFiles: ['test/cluster/e2e/evidence.ts'],
    fileParallelism: false,
    sequence: { sequencer: Order },
    testTimeout: 120_000,
    hookTimeout: 180_000,
    // What was installed is taken away then, from a cluster that stays.
    teardownTimeout: 400_000,
    pool: 'forks',
    reporters: ['default'],
  },
});
