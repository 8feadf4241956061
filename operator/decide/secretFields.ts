import { DEFAULT_FIELD } from '../../api/fields.ts';

/** Field of the material → key of the Secret, in order of field. */
export function fieldsOf(source: {
  key?: string | undefined;
  fields?: Readonly<Record<string, string>> | undefined;
}): ReadonlyMap<string, string> {
  const entries =
    source.key === undefined ? Object.entries(source.fields ?? {}) : [[DEFAULT_FIELD, source.key] as const];
  return new Map([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
}
