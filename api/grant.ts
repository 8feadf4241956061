import type { Placement, Rule } from './integration.ts';

/** One Integration as one session may use it: all the sidecar needs to decide and to place, but not the material. */
export interface Grant {
  /** `namespace/name` of the Integration; unique among a session's grants. */
  integration: string;
  /** RFC 3339; the older Integration wins a tie. */
  createdAt: string;
  /** `namespace/name` of the Credential. */
  credential: string;
  hosts: string[];
  alias?: string;
  inject: Placement[];
  rules: Rule[];
  limits: { requests: number; windowSeconds: number }[];
  placeholder: string;
  allowedNetworks: string[];
  allowPlaintext: boolean;
  /** Each use must be durable in the store's audit before it happens; absent: it is reported within a second. */
  auditStrict?: true;
  /** A lease is good for one request; absent: until its time. */
  single?: true;
}
