/** One row of a process's error table: what a machine sees and what a person reads. */
export interface ErrorRow {
  /** HTTP status the code is answered with; 0 where it never reaches HTTP. */
  status: number;
  /** Whether the same request may succeed later without a change. */
  retryable: boolean;
  /** What happened and what to do next, in one or two sentences. */
  help: string;
}

export type ErrorTable = Readonly<Record<string, ErrorRow>>;

/** An error with a stable code from its process's table; branch on `code`, never on the text. */
export class CodedError<Code extends string = string> extends Error {
  readonly code: Code;
  override readonly name = 'CodedError';

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The message of anything thrown, for a log line or a wrapped error. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of anything thrown (`ENOENT`, `StoreSealed`…), if it has one. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}
