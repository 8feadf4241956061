/** What a revocation stands for: exactly one lease, session or pod, or all sessions that match. */
export type Selector =
  | { lease: string }
  | { session: string }
  /** UID of the pod. */
  | { pod: string }
  /** Without a namespace: in all of them. */
  | { role: string; namespace?: string }
  | { tag: string; namespace?: string }
  | { serviceAccount: string; namespace: string }
  | { namespace: string }
  /** `namespace/name`. */
  | { credential: string }
  | { everything: true };
