import { parseHostPort } from '../decide/authority.ts';
import type { Door } from '../decide/door.ts';
import { type Refusal, refuse } from '../errors.ts';
import type { RequestHead } from '../http1/message.ts';
import type { ListenContext } from './context.ts';
import { type Opened, PROXIED } from './opened.ts';
import { openTunnel } from './openTunnel.ts';

/** Decides on a CONNECT (RFC 9110 section 9.3.6). */
export function openConnect(context: ListenContext, door: Door, request: RequestHead): Opened | Refusal {
  if (door.kind === 'tunnel') return refuse('MethodRefused', 'CONNECT is not forwarded through a tunnel.');
  if (door.kind === 'captured')
    return refuse(
      'MethodRefused',
      'The connection was captured on its way to another proxy; CONNECT is not sent there.',
    );
  const named = parseHostPort(request.target, undefined);
  if (named === undefined) return refuse('MalformedRequest', 'The target of CONNECT is no plain host:port.');
  const { host, port } = named;
  if (request.host !== undefined && request.host !== request.target) {
    // Some clients leave the port out here.
    const again = parseHostPort(request.host, port);
    if (again?.host !== host || again.port !== port)
      return refuse('AuthorityMismatch', 'The target of CONNECT and Host name different authorities.');
  }
  return openTunnel(context, host, port, PROXIED);
}
