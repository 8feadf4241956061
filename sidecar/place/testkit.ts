import type { Placement } from '../../api/integration.ts';
import { Material } from '../../lib/material.ts';
import type { Refusal } from '../errors.ts';
import { HeldLease } from '../grants/lease.ts';
import { Fields } from '../http1/fields.ts';
import type { Placed } from './placed.ts';
import { Plan } from './plan.ts';

export const PLACEHOLDER = 'sk-sidekeyPlaceholder0123456789abcdef0123456789abcdef';

export function leaseOf(fields: Record<string, string | Buffer>): HeldLease {
  const material = new Material();
  for (const [field, text] of Object.entries(fields)) material.set(field, Buffer.from(text));
  const issued = { id: 'l1', version: 1, expiresInSeconds: 900, material };
  return new HeldLease('default/key', issued, { monotonicMs: 0, wallMs: 0 });
}

export interface Sent {
  path?: string;
  query?: string;
  fields?: readonly (readonly [string, string])[];
  contentType?: string;
}

export function requestOf({ path = '/', query = '', fields = [], contentType }: Sent = {}) {
  const own = new Fields();
  for (const [name, value] of fields) own.add(name, value);
  return { path, query, fields: own, contentType };
}

/** What the upstream would get of a request, as text. */
export interface Seen {
  target: string | undefined;
  lines: string;
  omit: string[];
}

/** @throws Error if it was refused. */
export function placedOf(placed: Placed | Refusal): Placed {
  if ('kind' in placed) throw new Error(`${placed.code}: ${placed.detail}`);
  return placed;
}

export function seen(inject: Placement[], material: Record<string, string | Buffer>, sent: Sent = {}): Seen {
  const plan = Plan.compile({ inject, placeholder: PLACEHOLDER });
  const { target, lines, omit } = placedOf(plan.place(leaseOf(material), requestOf(sent)));
  return { target: target?.toString('latin1'), lines: lines?.toString('latin1') ?? '', omit: [...omit] };
}

/** The refusal's code and detail, or undefined. */
export function refusalOf(inject: Placement[], material: Record<string, string | Buffer>, sent: Sent = {}) {
  const placed = Plan.compile({ inject, placeholder: PLACEHOLDER }).place(leaseOf(material), requestOf(sent));
  return 'kind' in placed ? `${placed.code}: ${placed.detail}` : undefined;
}
