import type { Grant } from '../../api/grant.ts';
import { grantFor, type Peer, startProxy, startUpstream } from '../listen/testkit.ts';

/** An upstream at `api.test`, and a proxy that has a bearer credential for it. */
export async function setUp(
  options: Parameters<typeof startProxy>[0] = {},
  serve?: (peer: Peer) => void,
  more: { tls?: boolean; grants?: (host: string) => Grant[] } = {},
) {
  const upstream = await startUpstream(serve, more.tls);
  const host = `api.test:${upstream.port}`;
  const proxy = await startProxy({ grants: more.grants?.(host) ?? [grantFor([host])], ...options });
  return { upstream, proxy, host, url: `${more.tls ? 'https' : 'http'}://${host}` };
}

export const get = (url: string, host: string, fields = ''): string =>
  `GET ${url} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;

/** The head of a POST with `length` bytes to follow, or chunks. */
export const post = (url: string, host: string, length: number | 'chunked', fields = ''): string =>
  `POST ${url} HTTP/1.1\r\nHost: ${host}\r\n${length === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`}\r\n${fields}\r\n`;

/** Status and refusal code of an answer's head. */
export function parsed(head: string): { status: number; code: string | undefined } {
  return { status: Number(head.split(' ')[1]), code: /\r\nsidekey-error: ([A-Za-z0-9]+)\r\n/.exec(head)?.[1] };
}

/** Until the check holds. @throws Error after five seconds */
export async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 5_000;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`never: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
