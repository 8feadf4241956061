import { defineConfig } from 'rolldown';

/** Each part as one file that needs no node_modules, for the image: half the memory and a third of the start time of the sources. */
export default defineConfig(
  ['sidecar', 'store', 'operator', 'webhook', 'cli'].map((part) => ({
    input: `${part}/main.ts`,
    platform: 'node' as const,
    output: { file: `dist/${part}.mjs`, format: 'esm' as const, codeSplitting: false },
  })),
);
