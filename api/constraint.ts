import { z } from 'zod';

/** What a value must be beyond its shape, in code and in CEL: files and API server refuse the same, with the same words. */
export interface Constraint<Value> {
  message: string;
  holds: (value: Value) => boolean;
  /** Over `self`, true where the value is good; or why the API server needs no CEL for it. */
  cel: string | { unneeded: string };
  /** The property that the message is about, if not the value itself. */
  at?: string;
}

interface StatedConstraint extends Pick<Constraint<never>, 'message' | 'cel' | 'at'> {
  /** The refinement in the schema that says it. */
  check: object;
}

/** What the CRDs are generated from besides the schemas; a clone of a schema inherits its entry. */
export const constraints = z.registry<{ stated: StatedConstraint[] }>();

/** The schema with the constraint as a refinement. */
export function constrain<Schema extends z.ZodType>(
  schema: Schema,
  { message, holds, cel, at }: Constraint<z.output<Schema>>,
): Schema {
  const refined = schema.refine(holds, { error: message, ...(at !== undefined && { path: [at] }) }) as Schema;
  const check = refined._zod.def.checks!.at(-1)!;
  const before = constraints.get(schema)?.stated ?? [];
  constraints.add(refined, { stated: [...before, { message, cel, check, ...(at !== undefined && { at }) }] });
  return refined;
}

/** CEL that is true where exactly one of the slots is set. */
export function exactlyOneCel(slots: readonly string[]): string {
  return `[${slots.map((slot) => `has(self.${slot})`).join(', ')}].filter(x, x).size() == 1`;
}

/** CEL that is true where the value matches; RE2 and JavaScript read the expressions of this folder alike. */
export function matchesCel(pattern: RegExp, value = 'self'): string {
  if (pattern.flags !== '' || pattern.source.includes("'")) throw new RangeError(`not to be said in CEL: ${pattern}`);
  return `${value}.matches(r'${pattern.source.replaceAll('\\/', '/')}')`;
}
