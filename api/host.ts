import { z } from 'zod';
import { constrain, matchesCel } from './constraint.ts';

const HOST = /^([*][.])?([a-z0-9]([-a-z0-9]*[a-z0-9])?[.])+[a-z]([-a-z0-9]*[a-z0-9])?(:[0-9]{1,5})?$/;

/** `host[:port]`, lower case, at most one leading `*.` label (which stands for exactly one label, as in certificates), no IP literals. */
export const HostPattern = constrain(
  z.string().max(260).regex(HOST, {
    error:
      'expected host[:port] such as api.openai.com: lower case, at least one dot, no scheme or path, no IP address, at most one leading *. label',
  }),
  {
    message: 'expected a port from 1 to 65535',
    holds: (text) => !HOST.test(text) || hasValidPort(text),
    cel: `!${matchesCel(HOST)} || !self.contains(':') || (int(self.split(':')[1]) >= 1 && int(self.split(':')[1]) <= 65535)`,
  },
);

function hasValidPort(pattern: string): boolean {
  const { port = 443 } = splitHostPattern(pattern);
  return port >= 1 && port <= 65_535;
}

/** The name and, if it is written, the port of a host pattern. */
export function splitHostPattern(pattern: string): { name: string; port?: number } {
  const colon = pattern.lastIndexOf(':');
  return colon < 0 ? { name: pattern } : { name: pattern.slice(0, colon), port: Number(pattern.slice(colon + 1)) };
}

/** Whether every authority that `inner` stands for is also one of `outer`: same name or under its wildcard, same port (none = the scheme's own). */
export function hostWithin(inner: string, outer: string): boolean {
  const a = splitHostPattern(inner);
  const b = splitHostPattern(outer);
  if (a.port !== b.port) return false;
  if (a.name === b.name) return true;
  return b.name.startsWith('*.') && !a.name.startsWith('*.') && a.name.slice(a.name.indexOf('.')) === b.name.slice(1);
}
