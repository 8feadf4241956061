import { isDeepStrictEqual } from 'node:util';
import { createPatch, type Operation, type Pointer } from 'rfc6902';

/**
 * What changes one object into the other (RFC 6902): nothing if nothing does, and never a whole object for some of its fields, so that what
 * other webhooks have done stays. Lists of named things are compared by their names in one pass; the library's own comparison of
 * lists takes the square of their length.
 */
export function jsonPatch(before: object, after: object): Operation[] {
  return createPatch(before, after, compareLists);
}

function compareLists(before: unknown, after: unknown, at: Pointer): Operation[] | undefined {
  if (!Array.isArray(before) || !Array.isArray(after)) return undefined;
  if (isDeepStrictEqual(before, after)) return [];
  const keys = { before: before.map(keyOf), after: after.map(keyOf) };
  if ([...keys.before, ...keys.after].includes(undefined)) return [replaced(at, after)];
  const kept = pairs(keys.before as string[], keys.after as string[]);
  const path = at.toString();
  const operations: Operation[] = [];
  const keptBefore = new Set(kept.values());
  for (let i = before.length - 1; i >= 0; i -= 1) {
    if (!keptBefore.has(i)) operations.push({ op: 'remove', path: `${path}/${i}` });
  }
  after.forEach((item, i) => {
    const from = kept.get(i);
    if (from === undefined) operations.push({ op: 'add', path: `${path}/${i}`, value: item });
  });
  for (const [to, from] of kept) operations.push(...nested(before[from], after[to], `${path}/${to}`));
  return operations;
}

/** For items of the one list, in order, those of the other that stay: the next with the same key. */
function pairs(before: readonly string[], after: readonly string[]): Map<number, number> {
  const places = new Map<string, number[]>();
  before.forEach((key, i) => {
    const known = places.get(key);
    if (known === undefined) places.set(key, [i]);
    else known.push(i);
  });
  const kept = new Map<number, number>();
  let last = -1;
  after.forEach((key, to) => {
    const from = places.get(key)?.find((place) => place > last);
    if (from === undefined) return;
    kept.set(to, from);
    last = from;
  });
  return kept;
}

function nested(before: unknown, after: unknown, path: string): Operation[] {
  return createPatch(before, after, compareLists).map((operation) => ({
    ...operation,
    path: `${path}${operation.path}`,
  }));
}

function replaced(at: Pointer, value: unknown): Operation {
  return { op: 'replace', path: at.toString(), value };
}

/** Of a mount its path, of all else its name. */
function keyOf(item: unknown): string | undefined {
  const { mountPath, name } = (item ?? {}) as { name?: unknown; mountPath?: unknown };
  if (typeof mountPath === 'string') return `${String(name)} ${mountPath}`;
  return typeof name === 'string' ? name : undefined;
}
