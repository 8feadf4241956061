import { z } from 'zod';
import { constrain, matchesCel } from './constraint.ts';

/** A list without duplicates: `x-kubernetes-list-type: set`, so that two appliers can each own their items. */
export function setOf<Item extends z.ZodType<string>>(item: Item, bounds: { min?: number; max: number }) {
  const list = z
    .array(item)
    .min(bounds.min ?? 0)
    .max(bounds.max)
    .meta({ 'x-kubernetes-list-type': 'set' });
  return constrain(list, {
    message: 'expected no item twice',
    holds: (items) => new Set(items).size === items.length,
    cel: { unneeded: 'x-kubernetes-list-type: set' },
  });
}

/** A map whose keys are one shape of text, with bounds that a schema of the API server can say. */
export function mapOf<Value extends z.ZodType>(
  key: { pattern: RegExp; maxLength: number; message: string },
  value: Value,
  bounds: { min?: number; max: number },
) {
  const min = bounds.min ?? 0;
  const map = z.record(z.string(), value).meta({ ...(min > 0 && { minProperties: min }), maxProperties: bounds.max });
  const sized = constrain(map, {
    message: `expected ${min} to ${bounds.max} entries`,
    holds: (entries) => Object.keys(entries).length >= min && Object.keys(entries).length <= bounds.max,
    cel: { unneeded: min > 0 ? 'minProperties and maxProperties' : 'maxProperties' },
  });
  return constrain(sized, {
    message: key.message,
    holds: (entries) => Object.keys(entries).every((name) => name.length <= key.maxLength && key.pattern.test(name)),
    cel: `self.all(key, key.size() <= ${key.maxLength} && ${matchesCel(key.pattern, 'key')})`,
  });
}
