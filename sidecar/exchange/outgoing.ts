import type { Socket } from 'node:net';
import { hostHeader } from '../decide/authority.ts';
import type { Located } from '../decide/locate.ts';
import type { Refusal } from '../errors.ts';
import type { Entry } from '../grants/entry.ts';
import type { HeldLease } from '../grants/lease.ts';
import type { RequestHead } from '../http1/message.ts';
import { requestHead } from '../http1/writer.ts';
import { Scrubber } from '../scrub/scrubber.ts';
import { Outbox } from './outbox.ts';
import { RequestBody } from './requestBody.ts';
import { switchable, withoutExtensions } from './upgrade.ts';

/** A request as it goes upstream. */
export interface Outgoing {
  /** Holds the material, if it carries any, so it is overwritten once written. */
  head: Buffer;
  body: RequestBody;
  up: Outbox;
  /** Looks for the material in the answer. */
  scrubber: Scrubber | undefined;
}

/** Rebuilds the request for the upstream, with the credential of `entry` in its places if there is one. */
export function outgoing(
  socket: Socket,
  request: RequestHead,
  located: Located,
  entry: Entry | undefined,
  lease: HeldLease | undefined,
): Outgoing | Refusal {
  const { expectContinue, fields, framing, method } = request;
  const { authority, path, query } = located;
  const upgrade = switchable(request, entry !== undefined);
  const host = hostHeader(authority);
  const up = new Outbox(socket);
  if (entry === undefined || lease === undefined) {
    const body = new RequestBody(framing, undefined, up);
    const target = path + query;
    const head = requestHead({ method, target, host, fields, framing: body.framing, upgrade, expectContinue });
    return { head, body, up, scrubber: undefined };
  }
  const placed = entry.plan.place(lease, { path, query, fields, contentType: fields.get('content-type') });
  if ('kind' in placed) return placed;
  const body = new RequestBody(framing, placed.body, up, placed.omit);
  const head = requestHead({
    method,
    target: placed.target ?? path + query,
    host,
    fields,
    omit: upgrade === undefined ? placed.omit : withoutExtensions(placed.omit),
    lines: placed.lines,
    framing: body.framing,
    upgrade,
    expectContinue,
  });
  placed.target?.fill(0);
  if (placed.linesOwned) placed.lines?.fill(0);
  return { head, body, up, scrubber: new Scrubber(entry.plan.needles(lease)) };
}
