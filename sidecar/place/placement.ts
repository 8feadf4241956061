import type { Material } from '../../lib/material.ts';
import type { Refusal } from '../errors.ts';
import type { Draft } from './draft.ts';
import type { SecretBuffers } from './secretBuffers.ts';

/** One placement of an Integration, compiled: it knows where the material goes and holds none. */
export interface Placement {
  /** Computes, once per lease, all that its requests need of the material; what holds material comes from `secrets`. */
  prepare(material: Material, secrets: SecretBuffers): Prepared | Refusal;
}

export interface Prepared {
  /** A field line that is the same for every request, with its CRLF; the agent's own fields of this (lower-case) name are dropped. */
  readonly line?: { readonly key: string; readonly bytes: Buffer };
  /** Places what depends on the request. */
  readonly place?: (draft: Draft) => Refusal | undefined;
  /** What to look for in answers. */
  readonly needles: readonly Buffer[];
}
