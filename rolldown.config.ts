import { defineConfig } from 'rolldown';

const BUNDLES = {
  sidecar: 'sidecar/main.ts',
  listening: 'sidecar/pod/listening.ts',
  store: 'store/main.ts',
  'admin-bridge': 'store/adminBridge.ts',
  operator: 'operator/main.ts',
  webhook: 'webhook/main.ts',
  cli: 'cli/main.ts',
};

/** Each program as one file that needs no node_modules, for the image: half the memory and a third of the start time of the sources. */
export default defineConfig(
  Object.entries(BUNDLES).map(([name, input]) => ({
    input,
    platform: 'node' as const,
    output: { file: `dist/${name}.mjs`, format: 'esm' as const, codeSplitting: false },
  })),
);
