import type { ConditionReason, ConditionType } from '../../api/condition.ts';

/** A check that failed: its reason is the reason of the condition it shows in. */
export interface Violation {
  reason: ConditionReason;
  /** What is wrong with this object and what to do next, one or two sentences. */
  message: string;
}

/** One check: named by the violation it looks for, undefined where there is none. */
export interface Check<Context> {
  reason: ConditionReason;
  condition: ConditionType;
  violation(context: Context): string | undefined;
}

/** The first violation of each condition, in the order of the checks; each check stands on its own, none relies on another having passed. */
export function firstViolations<Context>(
  checks: readonly Check<Context>[],
  context: Context,
): Map<ConditionType, Violation> {
  const found = new Map<ConditionType, Violation>();
  for (const { condition, reason, violation } of checks) {
    if (found.has(condition)) continue;
    const message = violation(context);
    if (message !== undefined) found.set(condition, { reason, message });
  }
  return found;
}
