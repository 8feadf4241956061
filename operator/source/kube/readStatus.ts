import { CONDITION_REASONS, type Condition, type ObjectStatus } from '../../../api/condition.ts';

/** A status as the API server has it, if this version can have written it; undefined otherwise. */
export function readStatus(status: unknown): ObjectStatus | undefined {
  const { conditions } = (status ?? {}) as { conditions?: unknown };
  if (!Array.isArray(conditions)) return undefined;
  return conditions.every(isCondition) ? (status as ObjectStatus) : undefined;
}

function isCondition(value: unknown): value is Condition {
  const { reason, status, type } = (value ?? {}) as Record<string, unknown>;
  return (
    typeof type === 'string' &&
    typeof status === 'string' &&
    typeof reason === 'string' &&
    Object.hasOwn(CONDITION_REASONS, reason)
  );
}
