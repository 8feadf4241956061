import type { Authority } from '../decide/authority.ts';
import type { AllowedNetworks } from './allowedNetworks.ts';

/** Where a connection goes, and what may share it. */
export interface Target {
  /** Pool key: scheme, host, port and `credential@version` or `-`. Connections of one id are interchangeable. */
  readonly id: string;
  readonly authority: Authority;
  /** Whether requests on it carry a credential, so that its addresses are judged. */
  readonly credentialed: boolean;
  readonly networks: AllowedNetworks | undefined;
  /** Bytes only: the agent asked for a tunnel and speaks TLS of its own in it, so a proxy on the way is the one for https. */
  readonly blind?: boolean;
}

/** `host:port` for messages and for CONNECT; IPv6 in brackets. */
export function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
