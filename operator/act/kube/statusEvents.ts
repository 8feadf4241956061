import type { Condition, ConditionType, ObjectStatus } from '../../../api/condition.ts';

/** What a person must know of a change from one status to the next: the condition that tells it, if any does. */
export function worthTelling(before: ObjectStatus | undefined, after: ObjectStatus): Condition | undefined {
  const ready = of(after, 'Ready');
  const was = of(before, 'Ready');
  const turned = ready?.status === 'False' && (was?.status !== 'False' || was.reason !== ready.reason);
  // What passes by itself within moments is no news.
  if (turned && ready.reason !== 'SecretPending' && ready.reason !== 'Pending') return ready;
  const conflict = of(after, 'HostConflict');
  if (conflict?.status === 'True' && of(before, 'HostConflict')?.status !== 'True') return conflict;
  return undefined;
}

function of(status: ObjectStatus | undefined, type: ConditionType): Condition | undefined {
  return status?.conditions.find((condition) => condition.type === type);
}
