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
}

/** `host:port` for messages and for CONNECT; IPv6 in brackets. */
export function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
