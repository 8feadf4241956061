import type { ErrorRow } from '../lib/errors.ts';

/** Every way the sidecar refuses a request; docs/errors.md lists the same, by test. `help` is what the agent reads. */
export const REFUSALS = {
  MalformedRequest: {
    status: 400,
    retryable: false,
    help: 'The request is not well-formed HTTP/1.1, or means different things to different readers.',
  },
  NoAuthority: {
    status: 400,
    retryable: false,
    help: 'The captured connection names no host (TLS without SNI, plain HTTP without Host, or neither of both), so there is no telling where to send it.',
  },
  AmbiguousPath: {
    status: 400,
    retryable: false,
    help: 'The path has dot segments, encoded slashes or empty segments; send it in canonical form.',
  },
  RuleDenied: { status: 403, retryable: false, help: "The Integration's rules do not allow this method and path." },
  NoIntegration: {
    status: 403,
    retryable: false,
    help: 'No Integration of this session covers the host, and egress is closed.',
  },
  PlaceholderNotGranted: {
    status: 403,
    retryable: false,
    help: 'The placeholder belongs to a credential that is not granted for this host.',
  },
  PlaintextRefused: {
    status: 403,
    retryable: false,
    help: 'Credentials do not travel over plain http; use https, or set allowPlaintext on the Integration.',
  },
  AddressRefused: {
    status: 403,
    retryable: false,
    help: 'The host resolves to a private, loopback, link-local or own address; allowedNetworks of the Integration can name it.',
  },
  CrossSiteRefused: {
    status: 403,
    retryable: false,
    help: 'A page of another site sent this through a browser; base URLs are for programs, not for pages.',
  },
  Revoked: { status: 403, retryable: false, help: 'The session or its use of the credential was revoked.' },
  UnknownAlias: { status: 404, retryable: false, help: 'No Integration of this session has the alias.' },
  MethodRefused: {
    status: 405,
    retryable: false,
    help: 'TRACE and CONNECT inside a tunnel are never forwarded, nor a known method that is not in upper case.',
  },
  RequestTimeout: { status: 408, retryable: true, help: 'The request head or body did not arrive in time.' },
  AuthorityMismatch: {
    status: 421,
    retryable: false,
    help: 'CONNECT target, SNI, request target and Host name different authorities.',
  },
  LimitExceeded: {
    status: 429,
    retryable: true,
    help: "The Integration's request limit is reached; retry after the stated time.",
  },
  HeadTooLarge: { status: 431, retryable: false, help: 'The request head is larger than the sidecar takes.' },
  UpstreamUnresolved: { status: 502, retryable: true, help: 'The host name does not resolve.' },
  UpstreamUnreachable: { status: 502, retryable: true, help: 'No address of the upstream accepts a connection.' },
  UpstreamCertificateInvalid: {
    status: 502,
    retryable: false,
    help: "The upstream's certificate does not verify; nothing was sent to it.",
  },
  UpstreamReset: {
    status: 502,
    retryable: true,
    help: 'The upstream closed the connection before it answered in full.',
  },
  UpstreamMalformed: { status: 502, retryable: false, help: "The upstream's answer is not well-formed HTTP/1.1." },
  UpstreamProxyRefused: {
    status: 502,
    retryable: true,
    help: 'The upstream proxy (HTTPS_PROXY of the sidecar) did not open a tunnel.',
  },
  StoreUnavailable: {
    status: 503,
    retryable: true,
    help: 'The credential cannot be leased now because the store is away.',
  },
  CredentialUnavailable: {
    status: 503,
    retryable: true,
    help: 'The credential has no usable material yet; see its conditions.',
  },
  Overloaded: { status: 503, retryable: true, help: 'The sidecar is at one of its bounds.' },
  Draining: { status: 503, retryable: true, help: 'The sidecar is shutting down.' },
  UpstreamTimeout: { status: 504, retryable: true, help: 'The upstream did not answer in time.' },
  Http2NotSupported: { status: 505, retryable: false, help: 'This listener speaks HTTP/1.1 only.' },
  LoopDetected: { status: 508, retryable: false, help: 'The request names the sidecar itself as its upstream.' },
  InternalError: { status: 500, retryable: true, help: 'The sidecar failed; its log has the cause.' },
} as const satisfies Record<string, ErrorRow>;

export type RefusalCode = keyof typeof REFUSALS;

/** A request refused: a value, not an exception, because refusing is ordinary and must stay cheap. */
export interface Refusal {
  readonly kind: 'refuse';
  readonly code: RefusalCode;
  /** One sentence for the agent about this very request; never internal text, never material. */
  readonly detail: string;
  readonly retryAfterSeconds?: number;
}

export function refuse(code: RefusalCode, detail: string, retryAfterSeconds?: number): Refusal {
  return retryAfterSeconds === undefined
    ? { kind: 'refuse', code, detail }
    : { kind: 'refuse', code, detail, retryAfterSeconds };
}
