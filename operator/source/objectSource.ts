import type { Credential } from '../../api/credential.ts';
import type { Integration } from '../../api/integration.ts';
import type { Material } from '../../lib/material.ts';

export type SourceKind = 'Credential' | 'Integration' | 'Secret';

/** An object as it was last read well, and where. */
export interface SourceObject<T> {
  key: string;
  /** Where it was read, relative to the folder; or the resource's path. */
  file: string;
  value: T;
  /** Counts changes of the spec; metadata.generation where there is one. */
  generation: number;
}

/** A core/v1 Secret whose bytes have left the text they came in. */
export interface SecretValue {
  /** The source's own: gone (zeroes, no fields) once the Secret changes or goes. */
  material: Material;
  /** Key of the Secret → digest of its bytes under a key of this process; changes with the bytes, tells nothing of them. */
  digests: ReadonlyMap<string, string>;
}

/** Something that could not be read; what was last good of it stays in force. */
export interface Problem {
  file: string;
  /** From 1. */
  line?: number;
  /** Such as `Credential default/openai`. */
  object?: string;
  /** Such as `spec.hosts[0]`. */
  path?: string;
  message: string;
}

/** Why a Secret that a Credential names cannot be told to be there or not. */
export interface UnreadableSecret {
  reason: 'SecretForbidden' | 'SecretPending';
  message: string;
}

/** An object that is stored although it is not valid. */
export interface InvalidObject {
  kind: 'Credential' | 'Integration';
  key: string;
  file: string;
  generation: number;
  message: string;
}

/** Everything a source knows at one moment. */
export interface SourceSnapshot {
  credentials: ReadonlyMap<string, SourceObject<Credential>>;
  integrations: ReadonlyMap<string, SourceObject<Integration>>;
  secrets: ReadonlyMap<string, SourceObject<SecretValue>>;
  /** Labels of each namespace. */
  namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>;
  problems: readonly Problem[];
  /** By key of the Secret; what was last read of it, if anything, is still in `secrets`. */
  unreadableSecrets: ReadonlyMap<string, UnreadableSecret>;
  /** By `Kind namespace/name`; what was last good of it, if anything, is still above. */
  invalid: ReadonlyMap<string, InvalidObject>;
  /**
   * What may exist although it is not above, because it could not be read even once: it must not be taken for deleted.
   * `Kind namespace/name`, or `anything` where not even that could be told.
   */
  unread: { readonly anything: boolean; readonly objects: ReadonlySet<string> };
}

/** Where desired state comes from: a folder of YAML, or the API server. */
export interface ObjectSource {
  /** Reads everything once. Changes from then on are told by `onChange`. */
  start(onChange: () => void): Promise<void>;
  snapshot(): SourceSnapshot;
  close(): void;
}
