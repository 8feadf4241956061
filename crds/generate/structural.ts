import { z } from 'zod';
import { constraints, matchesCel } from '../../api/constraint.ts';

/** As much of JSONSchemaProps (apiextensions.k8s.io/v1) as our schemas need. */
export interface StructuralSchema {
  type?: string;
  format?: string;
  description?: string;
  enum?: unknown[];
  default?: unknown;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  minProperties?: number;
  maxProperties?: number;
  required?: string[];
  properties?: Record<string, StructuralSchema>;
  additionalProperties?: StructuralSchema;
  items?: StructuralSchema;
  'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-validations'?: CelRule[];
}

/** One of `x-kubernetes-validations`. */
export interface CelRule {
  rule: string;
  message: string;
  fieldPath?: string;
}

const ORDER: readonly (keyof StructuralSchema)[] = [
  'description',
  'type',
  'format',
  'enum',
  'default',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'pattern',
  'x-kubernetes-validations',
  'required',
  'properties',
  'additionalProperties',
  'items',
];

/**
 * The structural schema of a zod schema, as a user writes it (before defaults).
 *
 * Structural schemas know no `additionalProperties: false` (unknown fields are refused or pruned anyway) and no unions
 * (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema).
 * @throws RangeError where a schema has what they cannot say, or lacks a bound or a description.
 */
export function structuralSchema(schema: z.ZodType, path: string): StructuralSchema {
  const json = z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io: 'input',
    override: ({ zodSchema, jsonSchema }) => {
      const rules = celRules(zodSchema);
      if (rules.length > 0) Object.assign(jsonSchema, { 'x-kubernetes-validations': rules });
      if (regexesWithMessage(zodSchema).length > 0) {
        delete jsonSchema.pattern;
        delete jsonSchema.allOf;
      }
    },
  });
  return structural(json as Json, path);
}

/** A pattern with words of its own becomes CEL, because the API server would answer with the pattern. */
function celRules(schema: z.core.$ZodType): CelRule[] {
  const patterns = regexesWithMessage(schema).map(({ pattern, message }) => ({ rule: matchesCel(pattern), message }));
  const stated = (constraints.get(schema)?.stated ?? []).flatMap(({ cel, message, at }) =>
    typeof cel === 'string' ? [{ rule: cel, message, ...(at !== undefined && { fieldPath: `.${at}` }) }] : [],
  );
  return [...patterns, ...stated];
}

function regexesWithMessage(schema: z.core.$ZodType): { pattern: RegExp; message: string }[] {
  return (schema._zod.def.checks ?? []).flatMap((check) => {
    const def = check._zod.def as { format?: string; pattern?: RegExp; error?: (issue: never) => unknown };
    if (def.format !== 'regex' || def.pattern === undefined || def.error === undefined) return [];
    return [{ pattern: def.pattern, message: String(def.error({} as never)) }];
  });
}

type Json = Record<string, unknown>;

function structural(json: Json, path: string): StructuralSchema {
  const {
    additionalProperties,
    properties,
    items,
    propertyNames: _keys,
    ...rest
  } = json as {
    additionalProperties?: false | Json;
    properties?: Record<string, Json>;
    items?: Json;
    propertyNames?: Json;
  };
  const all: StructuralSchema = {
    ...rest,
    ...(properties !== undefined &&
      Object.keys(properties).length > 0 && {
        properties: Object.fromEntries(
          Object.entries(properties).map(([name, property]) => [name, structural(property, `${path}.${name}`)]),
        ),
      }),
    ...(typeof additionalProperties === 'object' && {
      additionalProperties: structural(additionalProperties, `${path}{}`),
    }),
    ...(items !== undefined && { items: structural(items, `${path}[]`) }),
  };
  if (all.type === 'array') all['x-kubernetes-list-type'] ??= 'atomic';
  if (all.minItems === 0) delete all.minItems;
  if (all.format === 'date-time') delete all.pattern;
  if (all.type === 'integer') all.format = 'int64';
  if (Array.isArray(all.required) && all.required.length === 0) delete all.required;
  const unknown = Object.keys(all).filter((key) => !ORDER.includes(key as never));
  if (unknown.length > 0) throw new RangeError(`${path}: not structural: ${unknown.join(', ')}`);
  checkBounds(all, path);
  return Object.fromEntries(
    ORDER.filter((key) => all[key] !== undefined).map((key) => [key, all[key]]),
  ) as StructuralSchema;
}

/** The API server refuses CEL whose cost it cannot bound, and a description is what `kubectl explain` shows. */
function checkBounds(schema: StructuralSchema, path: string): void {
  const { type } = schema;
  const bounded =
    type === 'string'
      ? schema.maxLength !== undefined || schema.enum !== undefined || schema.format === 'date-time'
      : type === 'array'
        ? schema.maxItems !== undefined
        : schema.additionalProperties === undefined || schema.maxProperties !== undefined;
  if (!bounded) throw new RangeError(`${path}: a ${type} needs a bound`);
  const isElement = path.endsWith('[]') || path.endsWith('{}');
  if (!isElement && schema.description === undefined) throw new RangeError(`${path}: needs a description`);
}
