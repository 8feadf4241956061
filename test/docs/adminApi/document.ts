import { z } from 'zod';
import { STORE_ERRORS } from '../../../store/errors.ts';
import * as answers from './answers.ts';
import { OPERATIONS, type Operation } from './operations.ts';

type Json = Record<string, unknown>;

/** The admin API as OpenAPI 3.1, from the schemas that requests are checked by. */
export function adminApiDocument(): Json {
  const paths: Record<string, Json> = {};
  for (const [key, operation] of Object.entries(OPERATIONS)) {
    const [method, path] = key.split(' ') as [string, string];
    paths[path] = { ...paths[path], [method.toLowerCase()]: operationOf(method, path, operation) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sidekey store: admin API',
      version: 'v1',
      description:
        'HTTP on the Unix socket of the store (mode 0600) in its state directory. Whoever may open the socket is its owner; there is no other authentication.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://localhost', description: 'Over the socket, such as curl --unix-socket admin.sock' }],
    paths,
    components: { schemas: components() },
  };
}

function operationOf(method: string, path: string, operation: Operation): Json {
  const { answer, body, lines, orNothing, query, summary } = operation;
  const contentType = lines ? 'application/x-ndjson' : 'application/json';
  const success =
    answer === undefined ? {} : { 200: { description: 'Done.', content: contentOf(answer, 'output', contentType) } };
  const nothing = answer === undefined || orNothing ? { 204: { description: 'Done, and nothing to tell.' } } : {};
  const parameters = [...pathParameters(path), ...(query === undefined ? [] : queryParameters(query))];
  return {
    operationId: idOf(method, path),
    summary,
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && { requestBody: { required: true, content: contentOf(body, 'input') } }),
    responses: {
      ...success,
      ...nothing,
      default: {
        description: 'It failed; the code says why, and docs/errors.md what to do.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/StoreError' } } },
      },
    },
  };
}

function contentOf(schema: z.ZodType | string, io: 'input' | 'output', contentType = 'application/json'): Json {
  if (typeof schema === 'string') return { [schema]: { schema: { type: 'string', format: 'binary' } } };
  return { [contentType]: { schema: referred(schema) ?? schemaOf(schema, io) } };
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string', minLength: 1 },
  }));
}

/** Of a union of objects each member may be given; that one of them has to be is said in the summary. */
function queryParameters(query: z.ZodType): Json[] {
  const schema = schemaOf(query, 'input') as { anyOf?: Json[] };
  return (schema.anyOf ?? [schema]).flatMap((one) => {
    const { properties, required = [] } = one as { properties: Record<string, Json>; required?: string[] };
    return Object.entries(properties).map(([name, property]) => ({
      name,
      in: 'query',
      required: schema.anyOf === undefined && required.includes(name),
      schema: Object.keys(property).length === 0 ? { type: 'string' } : property,
    }));
  });
}

function components(): Record<string, Json> {
  const schemas: Record<string, Json> = {};
  for (const [name, schema] of Object.entries(answers)) schemas[name] = schemaOf(schema, 'output');
  const code = { type: 'string', enum: codes() };
  schemas.StoreError = { ...schemas.StoreError, properties: { ...(schemas.StoreError!.properties as Json), code } };
  return schemas;
}

/** Those that an HTTP answer can have. */
function codes(): string[] {
  return Object.entries(STORE_ERRORS)
    .filter(([, { status }]) => status !== 0)
    .map(([code]) => code)
    .sort();
}

/** Answers of their own name are said once. */
function referred(schema: z.ZodType): Json | undefined {
  const nameOf = (one: unknown) => Object.entries(answers).find(([, known]) => known === one)?.[0];
  const name = nameOf(schema);
  if (name !== undefined) return { $ref: `#/components/schemas/${name}` };
  const element = schema instanceof z.ZodArray ? nameOf(schema.element) : undefined;
  return element === undefined ? undefined : { type: 'array', items: { $ref: `#/components/schemas/${element}` } };
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io,
    reused: 'inline',
    unrepresentable: 'any',
  });
  return rest as Json;
}

function idOf(method: string, path: string): string {
  const words = path
    .replace('/v1/admin/', '')
    .split('/')
    .map((word) => (word.startsWith('{') ? `By-${word.slice(1, -1)}` : word))
    .join('-');
  return `${method.toLowerCase()}-${words}`.replace(/-(\w)/g, (_match, letter: string) => letter.toUpperCase());
}
