export type MalformedCode = 'MalformedRequest' | 'HeadTooLarge' | 'MethodRefused' | 'Http2NotSupported';

/** A message that is not well-formed HTTP/1.1, or that two readers could take for different things. */
export class MalformedMessage extends Error {
  readonly code: MalformedCode;

  /** `detail`: one sentence that holds nothing of the message but the name of a field. */
  constructor(code: MalformedCode, detail: string) {
    super(detail);
    this.code = code;
  }
}

export function malformed(detail: string): MalformedMessage {
  return new MalformedMessage('MalformedRequest', detail);
}
