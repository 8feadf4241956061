import { connect } from 'node:net';
import { readChunks } from '../rules/agentConnection.ts';

export interface Seen {
  /** `<status> <sidekey-error>` for a refusal, else `<status> whole` or `<status> truncated`; `nothing` without a head. */
  readonly outcome: string;
  readonly bytes: Buffer;
}

/** Sends a request on a connection of its own and reads until the answer is whole or the connection is over. */
export function seenBy(port: number, request: string): Promise<Seen> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const done = (end: 'fin' | 'reset' | undefined) => {
      const bytes = Buffer.concat(pieces);
      const outcome = outcomeOf(bytes, end);
      if (outcome === undefined) return;
      socket.destroy();
      resolve({ outcome, bytes });
    };
    socket.on('data', (chunk: Buffer) => {
      pieces.push(chunk);
      done(undefined);
    });
    socket.on('end', () => done('fin'));
    socket.on('error', () => done('reset'));
    socket.write(Buffer.from(request, 'latin1'));
  });
}

/** Undefined while more may come. Without length or chunks it is the FIN that makes an answer whole. */
function outcomeOf(bytes: Buffer, end: 'fin' | 'reset' | undefined): string | undefined {
  let at = 0;
  for (;;) {
    const headEnd = bytes.indexOf('\r\n\r\n', at) + 4;
    if (headEnd === 3) return end === undefined ? undefined : 'nothing';
    const head = bytes.subarray(at, headEnd).toString('latin1');
    const status = head.slice(9, 12);
    if (status.startsWith('1') && status !== '101') {
      at = headEnd;
      continue;
    }
    const code = /\r\nsidekey-error: (\S+)/.exec(head)?.[1];
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
    const chunked = /\r\ntransfer-encoding: chunked/i.test(head);
    const whole = chunked
      ? readChunks(bytes, headEnd) !== undefined
      : length === undefined
        ? end === 'fin'
        : bytes.length >= headEnd + Number(length);
    if (whole) return `${status} ${code ?? 'whole'}`;
    return end === undefined ? undefined : `${status} truncated`;
  }
}
