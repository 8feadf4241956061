import { DEFAULT_FIELD } from '../../api/fields.ts';
import type { Placement } from '../../api/integration.ts';

/** Fields of the material that a placement reads, each once. */
export function fieldsRead(placement: Placement): string[] {
  const { basic, bearer, header, placeholder, query } = placement;
  const fields = new Set<string>();
  if (basic !== undefined) {
    if (basic.usernameField !== undefined) fields.add(basic.usernameField);
    fields.add(basic.passwordField ?? DEFAULT_FIELD);
  } else if (header?.format !== undefined) {
    // `{value}` is the placement's own field, `{other}` a field by that name.
    for (const [, name] of header.format.matchAll(/\{([A-Za-z0-9][-A-Za-z0-9_.]*)\}/g))
      fields.add(name === DEFAULT_FIELD ? (header.field ?? DEFAULT_FIELD) : name!);
  } else fields.add((bearer ?? header ?? query ?? placeholder)?.field ?? DEFAULT_FIELD);
  return [...fields];
}

/** What a placement writes, for comparison with others: header names in lower case, query parameters as they are. */
export function placesWritten(placement: Placement): string[] {
  const { basic, bearer, header, placeholder, query } = placement;
  if (bearer !== undefined || basic !== undefined) return ['header authorization'];
  if (header !== undefined) return [`header ${header.name.toLowerCase()}`];
  if (query !== undefined) return [`query parameter ${query.name}`];
  return (placeholder?.in ?? []).map((where) => `placeholder in ${where}`);
}
