import { type Authority, authorityText } from '../decide/authority.ts';
import type { Entry } from '../grants/entry.ts';
import type { HeldLease } from '../grants/lease.ts';
import type { Target } from '../upstream/upstreams.ts';

/** The target of the last request under each lease: the next one is mostly for the same, and its text need not be made again. */
const latest = new WeakMap<HeldLease, { entry: Entry; target: Target }>();

/**
 * Where a request goes, and which connections it may share.
 *
 * Pools are kept apart by credential version (data path rule 15), and by Integration with its `allowedNetworks`: an address that
 * one Integration may reach, or could reach before it was changed, is not thereby open to another.
 */
export function targetOf(authority: Authority, entry: Entry | undefined, lease: HeldLease | undefined): Target {
  if (entry === undefined || lease === undefined) {
    return { id: `${urlOf(authority)} -`, authority, credentialed: false, networks: undefined };
  }
  const known = latest.get(lease);
  if (known !== undefined && known.entry === entry && sameAuthority(known.target.authority, authority)) {
    return known.target;
  }
  const target = {
    id: `${urlOf(authority)} ${lease.credential}@${lease.version} ${entry.grant.allowedNetworks} ${entry.integration}`,
    authority,
    credentialed: true,
    networks: entry.networks,
  };
  latest.set(lease, { entry, target });
  return target;
}

function urlOf(authority: Authority): string {
  return `${authority.scheme}://${authorityText(authority)}`;
}

function sameAuthority(a: Authority, b: Authority): boolean {
  return a.host === b.host && a.port === b.port && a.scheme === b.scheme;
}
