import type { Condition, ObjectStatus } from '../../../api/condition.ts';
import { sameStatus } from './sameStatus.ts';

/** Whether a status as the API server has it says what ours says; conditions of other types are other controllers'. */
export function saysAll(theirs: unknown, ours: ObjectStatus): boolean {
  const { conditions, ...rest } = (theirs ?? {}) as Partial<ObjectStatus>;
  if (!Array.isArray(conditions)) return false;
  const same = ours.conditions.map(({ type }) => conditions.find((one: Condition) => one?.type === type));
  return !same.includes(undefined) && sameStatus({ ...rest, conditions: same as Condition[] }, ours);
}
