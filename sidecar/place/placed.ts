import type { Fields } from '../http1/fields.ts';

/** What of a request matters for placing. */
export interface PlaceRequest {
  /** As it goes upstream, raw; starts with `/`, or is `*`. */
  readonly path: string;
  /** With its `?`, or empty. */
  readonly query: string;
  readonly fields: Fields;
  readonly contentType: string | undefined;
}

/** What placing changes of a request. */
export interface Placed {
  /** Replaces path and query where the material is in them; the caller overwrites it after use. */
  readonly target: Buffer | undefined;
  /** Ready field lines, CRLF after each. */
  readonly lines: Buffer | undefined;
  /** True: `lines` is this request's own and the caller overwrites it after use. False: it belongs to the lease. */
  readonly linesOwned: boolean;
  /** Lower-case names of the agent's fields that are dropped. */
  readonly omit: ReadonlySet<string>;
  readonly body: BodySubstitution | undefined;
}

/** Replaces the placeholder in one body as it streams; every piece given to `sink` is the receiver's to overwrite. */
export interface BodySubstitution {
  push(piece: Buffer, sink: (piece: Buffer) => void): void;
  flush(sink: (piece: Buffer) => void): void;
}
