import type { Socket } from 'node:net';
import { authorityText, parseHostPort } from '../decide/authority.ts';
import type { Door } from '../decide/door.ts';
import { isOwnName } from '../decide/ownNames.ts';
import { type Refusal, refuse } from '../errors.ts';
import type { RequestHead } from '../http1/message.ts';
import { BlindTunnel } from './blindTunnel.ts';
import type { ListenContext } from './context.ts';
import { Interception } from './interception.ts';

/** TLS handshakes of agents at one time, each of which costs a signature. */
const HANDSHAKE_LIMIT = 1_024;

/** What goes on with a connection after CONNECT. */
export interface Opened {
  /** Takes the socket over. `rest`: what came behind the head; `ended`: the FIN has come as well. */
  take(socket: Socket, rest: Buffer | undefined, ended: boolean): void;
}

/**
 * Decides on a CONNECT (RFC 9110 section 9.3.6): hosts of this session's Integrations are intercepted, any other keeps its own
 * certificate in a blind tunnel, or is refused while egress is closed.
 */
export function openConnect(context: ListenContext, door: Door, request: RequestHead): Opened | Refusal {
  const { deps } = context;
  if (door.kind === 'tunnel') return refuse('MethodRefused', 'CONNECT is not forwarded through a tunnel.');
  if (context.draining) return refuse('Draining', 'The sidecar takes no new tunnels.', 1);
  if (deps.grants.ended !== undefined) return refuse('Revoked', 'The session is over.');
  if (!deps.grants.ready) return refuse('StoreUnavailable', 'The grants of this session are not known yet.', 1);
  const named = parseHostPort(request.target, undefined);
  if (named === undefined) return refuse('MalformedRequest', 'The target of CONNECT is no plain host:port.');
  const { host, port } = named;
  if (request.host !== undefined && request.host !== request.target) {
    // Some clients leave the port out here.
    const again = parseHostPort(request.host, port);
    if (again?.host !== host || again.port !== port)
      return refuse('AuthorityMismatch', 'The target of CONNECT and Host name different authorities.');
  }
  if (isOwnName(host) || deps.grants.table.covers(host, port)) {
    if (context.handshakes >= HANDSHAKE_LIMIT)
      return refuse('Overloaded', `${HANDSHAKE_LIMIT} tunnels are being opened already.`, 1);
    return new Interception(context, host, port);
  }
  if (deps.egress === 'Open') return new BlindTunnel(context, host, port);
  return refuse('NoIntegration', `No Integration of this session covers ${authorityText({ host, port })}.`);
}
