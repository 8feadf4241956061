import type { Fields } from './fields.ts';

/** How long a body is (RFC 9112 section 6.3). */
export interface Framing {
  readonly kind: 'none' | 'length' | 'chunked' | 'close';
  /** Of the body, for `length`; 0 otherwise. */
  readonly bytes: number;
}

export interface RequestHead {
  readonly method: string;
  /** As sent: origin-form, absolute-form, authority-form (CONNECT) or `*` (OPTIONS). */
  readonly target: string;
  readonly minorVersion: 0 | 1;
  /** End-to-end fields in the order they came; Host, framing and all that concerns only this connection are gone. */
  readonly fields: Fields;
  /** The one Host value; undefined only in HTTP/1.0. */
  readonly host: string | undefined;
  readonly framing: Framing;
  readonly keepAlive: boolean;
  /** What the client would change to, lower case, if Connection lists `upgrade`. */
  readonly upgrade: string | undefined;
  readonly expectContinue: boolean;
  /** The whole head as latin1, for one quick search (such as for a placeholder). */
  readonly text: string;
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly minorVersion: 0 | 1;
  /**
   * End-to-end fields in the order they came. Content-Length is among them only where it frames nothing but still says
   * something: in the answer to HEAD and in a 304 (RFC 9110 section 8.6).
   */
  readonly fields: Fields;
  readonly framing: Framing;
  readonly keepAlive: boolean;
  /** How long the peer keeps an idle connection, if it says so (`Keep-Alive: timeout=5`). */
  readonly keepAliveSeconds: number | undefined;
  /** What the peer changes to, lower case, if Connection lists `upgrade`. */
  readonly upgrade: string | undefined;
}

export const NO_BODY: Framing = { kind: 'none', bytes: 0 };
export const CHUNKED_BODY: Framing = { kind: 'chunked', bytes: 0 };
export const BODY_UNTIL_CLOSE: Framing = { kind: 'close', bytes: 0 };
