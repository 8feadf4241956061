import { isIPv4 } from 'node:net';

const DOMAIN = 'sidekey.internal';
/** What clients call this machine, or the sidecar on it. */
export const LISTENER_NAMES: ReadonlySet<string> = new Set(['127.0.0.1', 'localhost', '::1', DOMAIN]);

/** Whether the host is `sidekey.internal` or below it: names of this process that no DNS server knows. */
export function isOwnName(host: string): boolean {
  return host.endsWith(DOMAIN) && (host.length === DOMAIN.length || host.at(-DOMAIN.length - 1) === '.');
}

/** The alias in `<alias>.sidekey.internal`, if the host is that. */
export function aliasInHost(host: string): string | undefined {
  if (host.length <= DOMAIN.length || !isOwnName(host)) return undefined;
  const alias = host.slice(0, -DOMAIN.length - 1);
  return alias === '' || alias.includes('.') ? undefined : alias;
}

/** Whether a client that names this host and port means one of our listeners. */
export function isOwnListener(host: string, port: number, ownPorts: ReadonlySet<number>): boolean {
  return ownPorts.has(port) && LISTENER_NAMES.has(host);
}

/** Whether dialling this host and port would come back to one of our listeners, as far as the name alone tells. */
export function leadsToOwnListener(host: string, port: number, ownPorts: ReadonlySet<number>): boolean {
  if (isOwnName(host)) return true;
  if (!ownPorts.has(port)) return false;
  // All of 127.0.0.0/8 is loopback; the kernel takes the unspecified address for it, and ::ffff:0:0/96 leads to IPv4.
  return (
    LISTENER_NAMES.has(host) ||
    host.endsWith('.localhost') ||
    (isIPv4(host) && (host.startsWith('127.') || host === '0.0.0.0')) ||
    host === '::' ||
    /^::ffff:(7f[0-9a-f]{2}:|0:0$)/.test(host)
  );
}
