import { createHash } from 'node:crypto';

/** In every placeholder, so that one quick search tells whether a request carries any. */
export const PLACEHOLDER_MARK = 'sidekeyPlaceholder';

/** Prefixes that SDKs and secret scanners expect of keys for a host; the first that matches is used. */
const PREFIXES: readonly (readonly [RegExp, string])[] = [
  [/(^|\.)openai\./, 'sk-'],
  [/(^|\.)anthropic\./, 'sk-ant-'],
  [/(^|\.)stripe\./, 'sk_test_'],
  [/(^|\.)github(usercontent)?\./, 'ghp_'],
  [/(^|\.)slack\./, 'xoxb-'],
  [/(^|\.)gitlab\./, 'glpat-'],
  [/(^|\.)huggingface\./, 'hf_'],
  [/(^|\.)sendgrid\./, 'SG.'],
];

/**
 * What an agent holds instead of the credential: well formed for its SDK, worthless anywhere else.
 *
 * A function of the credential's key and hosts alone, so that anyone can compute it and nobody learns anything from it.
 * Letters and digits only after the prefix, so that no encoding (URL, JSON, form) changes it; at least 40 characters.
 */
export function placeholderOf(credential: { key: string; hosts: readonly string[] }): string {
  const prefix = PREFIXES.find(([pattern]) => credential.hosts.some((host) => pattern.test(host)))?.[1] ?? '';
  const digest = createHash('sha256').update(`sidekey placeholder\0${credential.key}`).digest('hex').slice(0, 32);
  return `${prefix}${PLACEHOLDER_MARK}${digest}`;
}
