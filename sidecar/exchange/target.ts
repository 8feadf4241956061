import { type Authority, authorityText } from '../decide/authority.ts';
import type { Entry } from '../grants/entry.ts';
import type { HeldLease } from '../grants/lease.ts';
import type { Target } from '../upstream/upstreams.ts';

/**
 * Where a request goes, and which connections it may share.
 *
 * Pools are kept apart by credential version (data path rule 15), and by Integration with its `allowedNetworks`: an address that
 * one Integration may reach, or could reach before it was changed, is not thereby open to another.
 */
export function targetOf(authority: Authority, entry: Entry | undefined, lease: HeldLease | undefined): Target {
  const where = `${authority.scheme}://${authorityText(authority)}`;
  if (entry === undefined || lease === undefined) {
    return { id: `${where} -`, authority, credentialed: false, networks: undefined };
  }
  return {
    id: `${where} ${lease.credential}@${lease.version} ${entry.grant.allowedNetworks} ${entry.integration}`,
    authority,
    credentialed: true,
    networks: entry.networks,
  };
}
