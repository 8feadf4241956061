import { createHmac, randomBytes } from 'node:crypto';
import type { Secret } from '../../api/secret.ts';
import { Material } from '../../lib/material.ts';
import type { SecretValue } from './objectSource.ts';

/** Of this process alone: a digest in a heap dump of another process or a log could be compared with nothing. */
const digestKey = randomBytes(32);

/** The bytes of a Secret, out of the strings they came in; `stringData` is stronger than `data`, as on the API server. */
export function secretValue(secret: Pick<Secret, 'data' | 'stringData'>): SecretValue {
  const material = new Material();
  for (const [key, base64] of Object.entries(secret.data ?? {})) takeOver(material, key, Buffer.from(base64, 'base64'));
  for (const [key, text] of Object.entries(secret.stringData ?? {})) takeOver(material, key, Buffer.from(text, 'utf8'));
  const digests = new Map(material.fieldNames().map((key) => [key, digest(material.bytes(key)!)] as const));
  return { material, digests };
}

function takeOver(material: Material, key: string, bytes: Buffer): void {
  material.set(key, bytes);
  bytes.fill(0);
}

function digest(bytes: Buffer): string {
  return createHmac('sha256', digestKey).update(bytes).digest('base64url');
}
