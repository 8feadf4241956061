import { base64Within } from './base64.ts';
import { jsonEscaped } from './jsonEscaping.ts';
import { percentEncoded } from './percentEncoding.ts';
import type { SecretBuffers } from './secretBuffers.ts';

/** Shorter ones would mask what is no echo. */
export const NEEDLE_MIN_BYTES = 8;

/**
 * The forms in which an upstream is likely to echo a secret: as it is, in a URL, in JSON, and within anything in base64.
 *
 * Each costs one pass over every answer, so rarer spellings (`\u0061`, `%2f`, base64url) are left out. None for a short secret.
 */
export function echoForms(secret: Buffer, secrets: SecretBuffers): Buffer[] {
  if (secret.length < NEEDLE_MIN_BYTES) return [];
  return [
    secret,
    percentEncoded(secret, secrets),
    jsonEscaped(secret, secrets),
    ...[0, 1, 2].map((shift) => base64Within(secret, shift, secrets)),
  ];
}
