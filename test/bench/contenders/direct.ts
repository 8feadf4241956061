import { SECRET } from '../upstream.ts';
import type { Contender } from './contender.ts';

/** No proxy: the client holds the credential and speaks TLS to the upstream. What latencies are compared with. */
export const direct: Contender = {
  name: 'direct',
  start: async (upstream) => ({
    pid: undefined,
    startedNs: process.hrtime.bigint(),
    route: () => ({ port: upstream.port, via: 'tls', bearer: SECRET }),
    said: '',
    stop: async () => {},
  }),
};
