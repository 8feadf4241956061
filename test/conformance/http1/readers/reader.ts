/** What a reader takes a request for. */
export interface Reading {
  readonly method: string;
  readonly target: string;
  /** All Host fields, joined by `|`. */
  readonly host: string;
  readonly bodyBytes: number;
}

/** Another implementation of HTTP/1.1, asked how it reads a client's bytes. */
export interface Reader {
  /** The requests that it takes from a connection on which these bytes come, and then FIN. */
  read(bytes: Buffer): Promise<readonly Reading[]>;
  stop(): Promise<void>;
}

/** Starts a reader. @throws Error that says how to install what is missing */
export type StartReader = () => Promise<Reader>;
