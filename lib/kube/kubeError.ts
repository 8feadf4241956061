import { CodedError } from '../errors.ts';

export type KubeErrorCode = 'KubeRefused' | 'KubeUnreachable';

/** A `Status` of the API server, as far as we read it (meta/v1 Status). */
export interface KubeStatus {
  kind?: string;
  code?: number;
  reason?: string;
  message?: string;
}

/** What was asked for: for the message of an error. */
export interface KubeCall {
  verb: string;
  path: string;
}

/**
 * A request to the API server that came to nothing: it said no (KubeRefused) or could not be heard (KubeUnreachable, status 0).
 *
 * The message has verb, path, status and reason. What the server says in words may quote the object, so that it is apart.
 */
export class KubeError extends CodedError<KubeErrorCode> {
  readonly status: number;
  /** Such as `Forbidden`, `Conflict`, `Expired` (meta/v1 StatusReason), or the code of a socket's error. */
  readonly reason: string;
  /** What the server asks us to wait. */
  readonly retryAfterSeconds: number | undefined;
  /** Not enumerable: no logger takes it along. */
  readonly #serverMessage: string;

  private constructor(
    code: KubeErrorCode,
    call: KubeCall,
    what: { status: number; reason: string; message?: string; retryAfterSeconds?: number | undefined; cause?: unknown },
  ) {
    const { cause, message = '', reason, retryAfterSeconds, status } = what;
    const said = status === 0 ? reason : `${status} ${reason}`;
    super(code, `${call.verb} ${call.path}: ${said}`, cause === undefined ? undefined : { cause });
    this.status = status;
    this.reason = reason;
    this.retryAfterSeconds = retryAfterSeconds;
    this.#serverMessage = message;
  }

  static refused(call: KubeCall, httpStatus: number, status: KubeStatus = {}, retryAfterSeconds?: number): KubeError {
    const { code = httpStatus, message = '', reason = 'Unknown' } = status;
    return new KubeError('KubeRefused', call, { status: code, reason, message, retryAfterSeconds });
  }

  static unreachable(call: KubeCall, reason: string, cause?: unknown): KubeError {
    return new KubeError('KubeUnreachable', call, { status: 0, reason, cause });
  }

  /** The server's own words: for the person who sent the object, never for a log. */
  get serverMessage(): string {
    return this.#serverMessage;
  }
}
