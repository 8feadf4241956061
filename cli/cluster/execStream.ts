import type { Socket } from 'node:net';
import { PassThrough, Writable } from 'node:stream';
import type { Exec } from '@kubernetes/client-node';
import { errorText } from '../../lib/errors.ts';
import type { Pod } from './access.ts';

const BRIDGE = ['/usr/local/bin/node', '/sidekey/admin-bridge.mjs'];
const CONTAINER = 'store';
/** What was said last is why it ended. */
const SAID_LIMIT = 2_000;
/** A node that is busy takes its time to start a process. */
const LIMIT_MS = 60_000;
const PROGRESS_EVERY_MS = 3_000;
/** RFC 2518, 10.1: there will be an answer. Whoever asked waits for 10 s of silence, as is right for a store on the same machine. */
const PROCESSING = 'HTTP/1.1 102 Processing\r\n\r\n';

/** Leads an HTTP connection into the store's pod. Where that fails before any answer, it is answered here: 502, with why and what to do. */
export function lead(socket: Socket, exec: Exec, { metadata: { name, namespace } }: Pod): void {
  const stdin = socket.pipe(new PassThrough());
  const fromMs = performance.now();
  let isAnswered = false;
  const stdout = new Writable({
    write: (chunk, _encoding, done) => {
      isAnswered = true;
      socket.write(chunk, () => done());
    },
  });
  let said = '';
  const stderr = new PassThrough().setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-SAID_LIMIT);
  });
  const failed = (why: string, next = `kubectl -n ${namespace} logs ${name}`) => {
    if (socket.destroyed || socket.writableEnded) return;
    if (isAnswered) socket.destroy();
    else socket.end(badGateway(`the store in pod ${namespace}/${name} cannot be reached: ${why}`, next));
  };
  const waiting = setInterval(() => {
    if (isAnswered) clearInterval(waiting);
    else if (performance.now() - fromMs < LIMIT_MS) socket.write(PROCESSING);
    else failed(`no answer within ${LIMIT_MS / 1_000} s`);
  }, PROGRESS_EVERY_MS);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => clearInterval(waiting));
  exec
    .exec(namespace, name, CONTAINER, BRIDGE, stdout, stderr, stdin, false, ({ message, status }) => {
      if (status === 'Success') socket.end();
      else failed(said.trim() || (message ?? 'the command in it failed'));
    })
    .then(
      (ws) => {
        if (socket.destroyed) ws.close();
        socket.on('close', () => ws.close());
        // After the status, if there is one.
        ws.on('close', () => failed('the connection through the API server ended'));
      },
      // Of ws: an event with a message, which is all there is of the API server's answer.
      (error: { message?: string }) => {
        const why = error.message ?? errorText(error);
        if (!/\b403$/.test(why)) return failed(why);
        failed(
          'you may not exec into it',
          `whoever may, owns the store: the right to create pods/exec in namespace ${namespace} is needed`,
        );
      },
    );
}

function badGateway(message: string, next: string): string {
  const body = JSON.stringify({ code: 'Unreachable', message, next });
  return `HTTP/1.1 502 Bad Gateway\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;
}
