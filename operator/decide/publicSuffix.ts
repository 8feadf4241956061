import { getDomain } from 'tldts';
import { splitHostPattern } from '../../api/host.ts';

/** Whether a wildcard stands directly under a public suffix (publicsuffix.org, private part included): then strangers' hosts match it. */
export function wildcardTooWide(pattern: string): boolean {
  const { name } = splitHostPattern(pattern);
  return name.startsWith('*.') && getDomain(name.slice(2), { allowPrivateDomains: true }) === null;
}
