import type { Fields } from '../http1/fields.ts';
import type { RequestHead } from '../http1/message.ts';

/** Extensions such as permessage-deflate (RFC 7692) would hide an echo of the material from the scrubber. */
const WEBSOCKET_EXTENSIONS = 'sec-websocket-extensions';

/**
 * The protocol that a request may ask to change to; an Upgrade that is not taken up is simply left out (RFC 9110 section 7.8).
 *
 * With a credential only to WebSocket. Never to h2c: further requests would travel unseen.
 */
export function switchable(request: RequestHead, credentialed: boolean): string | undefined {
  const { upgrade, method, framing } = request;
  if (upgrade === undefined || method !== 'GET' || framing.kind !== 'none') return undefined;
  if (upgrade === 'websocket') return upgrade;
  return credentialed || upgrade.includes('h2c') ? undefined : upgrade;
}

/** What else is left out of a credentialed request that asks for an upgrade. */
export function withoutExtensions(omit: ReadonlySet<string>): ReadonlySet<string> {
  return new Set([...omit, WEBSOCKET_EXTENSIONS]);
}

/**
 * Has the answer come without a content coding, so that it can be looked through for the material as it streams.
 *
 * What the agent sent in Accept-Encoding is replaced; nothing is added where it sent none, which upstreams take for
 * "any coding" (RFC 9110 section 12.5.3) but answer uncoded in practice. An answer that is coded nevertheless is undone (unencoder.ts).
 */
export function identityOnly(fields: Fields): void {
  const { keys, values } = fields;
  for (let at = keys.indexOf('accept-encoding'); at !== -1; at = keys.indexOf('accept-encoding', at + 1)) {
    values[at] = 'identity';
  }
}
