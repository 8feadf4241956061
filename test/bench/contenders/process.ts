import { Child } from '../child.ts';
import { freePort } from '../upstream.ts';
import type { Running } from './contender.ts';

export interface Ports {
  /** http:// */
  readonly plain: number;
  /** https:// with a fixed certificate, which stands in for CONNECT and interception. */
  readonly tls: number;
}

export async function freePorts(): Promise<Ports> {
  return { plain: await freePort(), tls: await freePort() };
}

/** A proxy that cannot terminate TLS within CONNECT: the client speaks TLS to it at once, which spares it the CONNECT. */
export function startProxy(command: string, args: readonly string[], ports: Ports): Running {
  const child = Child.start('contender', command, args);
  return {
    pid: child.pid,
    startedNs: child.startedNs,
    route: (path) => (path === 'baseURL' ? { port: ports.plain, via: 'plain' } : { port: ports.tls, via: 'tls' }),
    get said() {
      return child.said;
    },
    stop: () => child.stop(),
  };
}
