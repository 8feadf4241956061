import { z } from 'zod';

const SECONDS = { h: 3600, m: 60, s: 1 } as const;
const SHAPE = /^([0-9]+h)?([0-9]+m)?([0-9]+s)?$/;

/** Seconds of a duration such as `15m`, `1h30m` or `45s`; undefined if the text is none (metav1.Duration, whole seconds only). */
export function parseDurationSeconds(text: string): number | undefined {
  if (text === '' || !SHAPE.test(text)) return undefined;
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]+)([hms])/g))
    seconds += Number(count) * SECONDS[unit as 'h' | 'm' | 's'];
  return Number.isSafeInteger(seconds) ? seconds : undefined;
}

/** Seconds of a duration that a schema has already accepted. @throws RangeError if it is none. */
export function durationSeconds(text: string): number {
  const seconds = parseDurationSeconds(text);
  if (seconds === undefined) throw new RangeError(`not a duration: ${text}`);
  return seconds;
}

export const Duration = z
  .string()
  .max(32)
  .refine((text) => parseDurationSeconds(text) !== undefined, {
    error: 'expected a duration such as 15m, 1h30m or 45s',
  });
