import type { CredentialRecord, IntegrationRecord } from '../../api/protocol.ts';
import { canonicalJson } from '../../lib/auditChain.ts';
import type { CredentialVerdict, WantedMaterial } from './credentialVerdict.ts';
import type { DecideInput } from './input.ts';
import type { IntegrationVerdict } from './integrationVerdict.ts';

/** What must be told to the store so that it holds what is desired; nothing that it holds already. */
export interface Plan {
  deleteIntegrations: string[];
  deleteCredentials: string[];
  /** Credentials that stay while their material goes. */
  dropMaterial: { key: string; record: CredentialRecord }[];
  putCredentials: { key: string; record: CredentialRecord }[];
  putMaterial: ({ key: string } & WantedMaterial)[];
  putIntegrations: { key: string; record: IntegrationRecord }[];
}

export function planOf(
  credentials: readonly CredentialVerdict[],
  integrations: readonly IntegrationVerdict[],
  input: DecideInput,
): Plan {
  const plan: Plan = {
    deleteIntegrations: [],
    deleteCredentials: [],
    dropMaterial: [],
    putCredentials: [],
    putMaterial: [],
    putIntegrations: [],
  };
  for (const verdict of credentials) {
    const { key, record, material } = verdict;
    if (record === undefined) continue;
    if (verdict.dropMaterial) plan.dropMaterial.push({ key, record });
    else if (!recordHeld(verdict)) plan.putCredentials.push({ key, record });
    if (material !== undefined && !materialHeld(verdict, input)) plan.putMaterial.push({ key, ...material });
  }
  for (const verdict of integrations) {
    const { key, record } = verdict;
    if (record !== undefined && !integrationHeld(verdict, input)) plan.putIntegrations.push({ key, record });
  }
  const desired = new Set<string>();
  // A generated value exists nowhere else: a slip in the Credential withdraws its Integrations, not the value.
  for (const { held, key, record } of credentials)
    if (record !== undefined || held?.record.source === 'generated') desired.add(`Credential ${key}`);
  for (const { key, record } of integrations) if (record !== undefined) desired.add(`Integration ${key}`);
  for (const key of input.held.credentials.keys())
    if (!desired.has(`Credential ${key}`) && !isUnread(`Credential ${key}`, input)) plan.deleteCredentials.push(key);
  for (const key of input.held.integrations.keys())
    if (!desired.has(`Integration ${key}`) && !isUnread(`Integration ${key}`, input)) plan.deleteIntegrations.push(key);
  return plan;
}

/** Whether an object that the source does not show may exist all the same, in a file that could not be read yet. */
export function isUnread(id: string, { known, source }: DecideInput): boolean {
  if (source.unread.objects.has(id)) return true;
  return source.unread.anything && !known.has(id);
}

export function recordHeld({ held, record }: CredentialVerdict): boolean {
  return held !== undefined && record !== undefined && canonicalJson(held.record) === canonicalJson(record);
}

/** Whether the store has acknowledged exactly these bytes, and still has that version. */
export function materialHeld({ held, key, material }: CredentialVerdict, { sent }: DecideInput): boolean {
  const last = sent.get(key);
  return (
    held !== undefined &&
    held.version > 0 &&
    (material === undefined || (last?.digest === material.digest && last.version === held.version))
  );
}

export function integrationHeld({ key, record }: IntegrationVerdict, { held }: DecideInput): boolean {
  const theirs = held.integrations.get(key);
  return theirs !== undefined && record !== undefined && canonicalJson(theirs) === canonicalJson(record);
}
