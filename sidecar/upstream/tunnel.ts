import type { Socket } from 'node:net';
import { type Refusal, refuse } from '../errors.ts';
import { HeadBuffer } from '../http1/headBuffer.ts';
import { parseResponseHead } from '../http1/responseHead.ts';
import type { UpstreamProxy } from './proxy.ts';
import { hostPort } from './target.ts';

const HEAD_LIMIT_BYTES = 16 * 1024;

/**
 * Asks a proxy for a tunnel (RFC 9110 section 9.3.6) on a socket whose errors the caller watches.
 *
 * Calls back once, with undefined when the tunnel stands: the socket is then paused, and has nothing of the answer left in it.
 */
export function openTunnel(
  socket: Socket,
  proxy: UpstreamProxy,
  target: { host: string; port: number },
  callback: (refusal: Refusal | undefined) => void,
): void {
  const authority = hostPort(target.host, target.port);
  const head = new HeadBuffer(HEAD_LIMIT_BYTES);
  const finish = (detail?: string) => {
    socket.removeListener('data', read).removeListener('end', ended);
    socket.pause();
    callback(
      detail === undefined
        ? undefined
        : refuse('UpstreamProxyRefused', `the upstream proxy ${hostPort(proxy.host, proxy.port)} ${detail}`),
    );
  };
  const read = (chunk: Buffer) => {
    try {
      let rest = chunk;
      while (head.push(rest)) {
        const { status } = parseResponseHead(head.bytes, head.headEnd, 'CONNECT');
        rest = Buffer.from(head.bytes.subarray(head.headEnd));
        if (status < 200) {
          head.reset();
          continue;
        }
        if (status >= 300) return finish(`answered ${status} to a tunnel to ${authority}`);
        return finish(rest.length > 0 ? 'sent bytes of its own into the tunnel' : undefined);
      }
    } catch {
      finish('did not answer in HTTP/1.1');
    }
  };
  const ended = () => finish('closed the connection');
  socket.on('data', read).on('end', ended);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${proxy.authorization}\r\n`, 'latin1');
}
