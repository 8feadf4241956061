import type { ObjectStatus } from '../../api/condition.ts';
import type { SourceSnapshot } from '../source/objectSource.ts';
import type { Failure, Held, Sent } from './held.ts';

/** Everything a decision depends on. */
export interface DecideInput {
  source: SourceSnapshot;
  held: Held;
  /** By key of the Credential. */
  sent: ReadonlyMap<string, Sent>;
  /** `Kind namespace/name` → why the store refused its last change. */
  failures: ReadonlyMap<string, Failure>;
  /** Why the store cannot be reached, while that is so. */
  storeAway: string | undefined;
  /** `Kind namespace/name` of what this process has read well at any time: what is gone of it is deleted. */
  known: ReadonlySet<string>;
  /** RFC 3339, by key: when Integrations without a creationTimestamp were first seen. */
  firstSeen: ReadonlyMap<string, string>;
  /** `Kind namespace/name` → its last status: a condition that stays as it is keeps its time. */
  previous: ReadonlyMap<string, ObjectStatus>;
  now: Date;
}

/** As if the store held nothing and this process had done nothing yet: then all that is desired is in the plan. */
export function againstNothing(source: SourceSnapshot, now: Date): DecideInput {
  return {
    source,
    held: { credentials: new Map(), integrations: new Map() },
    sent: new Map(),
    failures: new Map(),
    storeAway: undefined,
    known: new Set(),
    firstSeen: new Map(),
    previous: new Map(),
    now,
  };
}
