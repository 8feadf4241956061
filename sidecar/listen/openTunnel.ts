import { authorityText } from '../decide/authority.ts';
import { isOwnName } from '../decide/ownNames.ts';
import { type Refusal, refuse } from '../errors.ts';
import { unusableGrants } from '../grants/unusable.ts';
import { BlindTunnel } from './blindTunnel.ts';
import type { ListenContext } from './context.ts';
import { Interception } from './interception.ts';
import type { Manners, Opened } from './opened.ts';

/** TLS handshakes of agents at one time, each of which costs a signature. */
const HANDSHAKE_LIMIT = 1_024;

/**
 * Decides on a tunnel that CONNECT asked for or that was captured: hosts of this session's Integrations are intercepted, any other keeps
 * its own certificate in a blind tunnel, or is refused while egress is closed.
 */
export function openTunnel(context: ListenContext, host: string, port: number, manners: Manners): Opened | Refusal {
  const { deps } = context;
  if (context.draining) return refuse('Draining', 'The sidecar takes no new tunnels.', 1);
  const unusable = unusableGrants(deps.grants);
  if (unusable !== undefined) return unusable;
  if (isOwnName(host) || deps.grants.table.covers(host, port)) {
    if (context.handshakes >= HANDSHAKE_LIMIT)
      return refuse('Overloaded', `${HANDSHAKE_LIMIT} tunnels are being opened already.`, 1);
    return new Interception(context, host, port, manners);
  }
  if (deps.egress === 'Open') return new BlindTunnel(context, host, port, manners);
  return refuse('NoIntegration', `No Integration of this session covers ${authorityText({ host, port })}.`);
}
