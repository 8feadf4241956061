import { z } from 'zod';
import { constrain, matchesCel } from './constraint.ts';

const SECONDS = { h: 3600, m: 60, s: 1 } as const;
const SHAPE = /^([0-9]{1,6}h)?([0-9]{1,8}m)?([0-9]{1,9}s)?$/;

/** CEL that is true where the value is a duration; an empty text fits the shape too, and is none. */
export function isDurationCel(value = 'self'): string {
  return `${value} != '' && ${matchesCel(SHAPE, value)}`;
}

/** Seconds of a duration such as `15m`, `1h30m` or `45s`; undefined if the text is none (metav1.Duration, whole seconds only). */
export function parseDurationSeconds(text: string): number | undefined {
  if (text === '' || !SHAPE.test(text)) return undefined;
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]+)([hms])/g))
    seconds += Number(count) * SECONDS[unit as 'h' | 'm' | 's'];
  return seconds;
}

/** Seconds of a duration that a schema has already accepted. @throws RangeError if it is none. */
export function durationSeconds(text: string): number {
  const seconds = parseDurationSeconds(text);
  if (seconds === undefined) throw new RangeError(`not a duration: ${text}`);
  return seconds;
}

export const Duration = constrain(z.string().max(32), {
  message: 'expected a duration such as 15m, 1h30m or 45s',
  holds: (text) => parseDurationSeconds(text) !== undefined,
  cel: isDurationCel(),
});

/** A duration within bounds, which are durations themselves. */
export function durationBetween(min: string, max: string, message: string): typeof Duration {
  return constrain(Duration, {
    message,
    // What is no duration at all is refused as such, and not for its length too.
    holds: (text) => {
      const seconds = parseDurationSeconds(text);
      return seconds === undefined || (seconds >= durationSeconds(min) && seconds <= durationSeconds(max));
    },
    cel: `!(${isDurationCel()}) || (duration(self) >= duration('${min}') && duration(self) <= duration('${max}'))`,
  });
}

/** How often something happens, or in how long: not at once, and within a year. */
export const Interval = durationBetween('1s', '8760h', 'expected a duration from 1s to 8760h');
