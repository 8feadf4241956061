import type { ObjectStatus } from './condition.ts';

/** What the operator on a folder writes instead of status subresources: JSON, replaced atomically. */
export interface StatusFile {
  /** RFC 3339 of the last reconcile. */
  reconciledAt: string;
  objects: {
    kind: 'Credential' | 'Integration';
    /** `namespace/name` */
    key: string;
    /** Where it was read, relative to the folder. */
    file: string;
    status: ObjectStatus;
    /** Integration only, for tables. */
    hosts?: string[];
    credential?: string;
  }[];
  /** Files or objects that could not be read; the last good state of them is in force. */
  problems: { file: string; object?: string; path?: string; message: string }[];
}
