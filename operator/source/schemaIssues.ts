import { z } from 'zod';
import { suggest } from './suggest.ts';
import type { Path } from './yamlDocuments.ts';

/** One thing that is wrong with an object, in words that never repeat a value: it may be a secret in the wrong place. */
export interface SchemaIssue {
  path: Path;
  /** The field that is not known, if that is it. */
  key?: string;
  message: string;
}

const ISSUES_LIMIT = 20;

/** What a schema has against a value, each with its path and what was expected instead. */
export function schemaIssues(schema: z.ZodType, error: z.ZodError): SchemaIssue[] {
  return error.issues.flatMap((issue) => explain(schema, issue)).slice(0, ISSUES_LIMIT);
}

/** `spec.hosts[0]`; keys that are no plain words in brackets. */
export function pathText(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[A-Za-z0-9_-]+$/.test(String(step))) text += `${text === '' ? '' : '.'}${String(step)}`;
    else text += `[${JSON.stringify(String(step).slice(0, 64))}]`;
  }
  return text;
}

function explain(schema: z.ZodType, issue: z.core.$ZodIssue): SchemaIssue[] {
  const { path } = issue;
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownField(schema, path, key));
    case 'invalid_type':
      return [{ path, message: wrongType(issue) }];
    case 'invalid_value':
      return [{ path, message: `expected ${oneOf(issue.values.map(String))}` }];
    case 'too_small':
      return [{ path, message: `expected at least ${issue.minimum}${unitOf(issue.origin)}` }];
    case 'too_big':
      return [{ path, message: `expected at most ${issue.maximum}${unitOf(issue.origin)}` }];
    case 'invalid_key':
      return [{ path, message: issue.issues[0]?.message ?? 'this is not a valid key' }];
    case 'invalid_union':
      return [{ path, message: issue.message === 'Invalid input' ? unionText(issue) : issue.message }];
    case 'invalid_format':
      return [{ path, message: issue.format === 'base64' ? 'expected base64' : expected(issue.message) }];
    default:
      return [{ path, message: expected(issue.message) }];
  }
}

function unknownField(schema: z.ZodType, path: Path, key: string): SchemaIssue {
  const known = Object.keys(shapeAt(schema, path) ?? {});
  const meant = suggest(key, known);
  const hint = meant !== undefined ? `did you mean ${meant}?` : known.length > 0 ? `known are ${known.join(', ')}` : '';
  const name = JSON.stringify(key.slice(0, 64));
  return { path, key, message: `unknown field ${name}${hint === '' ? '' : `; ${hint}`}` };
}

function wrongType(issue: z.core.$ZodIssueInvalidType): string {
  const name = TYPE_NAMES[issue.expected] ?? issue.expected;
  // Of zod's message, only the kind of the value; never the value.
  const received = /received (\w+)$/.exec(issue.message)?.[1];
  if (received === 'undefined') return `is missing; expected ${name}`;
  const hint = issue.expected === 'string' && received === 'number' ? '; put it in quotes' : '';
  return `expected ${name}${received === undefined ? '' : `, not ${TYPE_NAMES[received] ?? received}`}${hint}`;
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  null: 'nothing',
};

function unionText(issue: z.core.$ZodIssueInvalidUnion): string {
  return [
    ...new Set(issue.errors.flatMap((errors) => errors.slice(0, 1).map((error) => expected(error.message)))),
  ].join(' or ');
}

function expected(message: string): string {
  return message.replace(/^Invalid input: /, '').replace(/, received .*$/, '');
}

function oneOf(values: string[]): string {
  return values.length === 1 ? values[0]! : `one of ${values.join(', ')}`;
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters';
  return origin === 'array' ? ' entries' : '';
}

/** The fields of the mapping at `path` of what the schema describes. */
function shapeAt(schema: z.core.$ZodType, path: Path): z.core.$ZodShape | undefined {
  let at: z.core.$ZodType | undefined = bare(schema);
  for (const step of path) {
    if (at instanceof z.ZodObject) at = Object.hasOwn(at.shape, String(step)) ? at.shape[String(step)] : undefined;
    else if (at instanceof z.ZodArray) at = at.element;
    else if (at instanceof z.ZodRecord) at = at.valueType;
    else return undefined;
    at = at && bare(at);
  }
  return at instanceof z.ZodObject ? at.shape : undefined;
}

function bare(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) return bare(schema.unwrap());
  return schema;
}
