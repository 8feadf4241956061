import type { AuditCheckpoint, AuditKeyLink } from '../../api/admin.ts';
import type { Transaction } from '../persist/repository.ts';

const CHECKPOINT = 'audit checkpoint ';
const KEY_LINKS = 'audit key links';

/** Where the chain begins, if entries of it were pruned. */
export async function checkpointOf(tx: Transaction, chain: string): Promise<AuditCheckpoint | undefined> {
  const value = await tx.meta.get(CHECKPOINT + chain);
  return value && JSON.parse(value.toString());
}

export async function setCheckpoint(tx: Transaction, chain: string, checkpoint: AuditCheckpoint): Promise<void> {
  await tx.meta.set(CHECKPOINT + chain, Buffer.from(JSON.stringify(checkpoint)));
}

/** How each key of the audit was followed by the next, oldest first. */
export async function keyLinks(tx: Transaction): Promise<AuditKeyLink[]> {
  const value = await tx.meta.get(KEY_LINKS);
  return value === undefined ? [] : JSON.parse(value.toString());
}

export async function addKeyLink(tx: Transaction, link: AuditKeyLink): Promise<void> {
  await tx.meta.set(KEY_LINKS, Buffer.from(JSON.stringify([...(await keyLinks(tx)), link])));
}

/** The links that lead from one key to another: none if they are the same, undefined if they do not. */
export function linksBetween(links: readonly AuditKeyLink[], from: string, to: string): AuditKeyLink[] | undefined {
  if (from === to) return [];
  const start = links.findIndex((link) => link.previousPublicKeyPem === from);
  const end = links.findIndex((link) => link.publicKeyPem === to);
  return start === -1 || end < start ? undefined : links.slice(start, end + 1);
}
