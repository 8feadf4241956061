import type { ObjectStatus } from '../../../api/condition.ts';

/** Whether two statuses say the same; without making text of them, for there are thousands a round. */
export function sameStatus(a: ObjectStatus | undefined, b: ObjectStatus): boolean {
  if (a === b) return true;
  return (
    a !== undefined &&
    a.observedGeneration === b.observedGeneration &&
    a.source === b.source &&
    a.version === b.version &&
    a.expirationTime === b.expirationTime &&
    a.placeholder === b.placeholder &&
    a.conditions.length === b.conditions.length &&
    a.conditions.every((one, index) => {
      const other = b.conditions[index]!;
      return (
        one.type === other.type &&
        one.status === other.status &&
        one.reason === other.reason &&
        one.message === other.message &&
        one.observedGeneration === other.observedGeneration &&
        one.lastTransitionTime === other.lastTransitionTime
      );
    })
  );
}
