import type { z } from 'zod';
import { Credential } from '../../api/credential.ts';
import { Integration } from '../../api/integration.ts';
import { API_VERSION, DEFAULT_NAMESPACE, LabelName, objectKey, SubdomainName } from '../../api/metadata.ts';
import { Secret } from '../../api/secret.ts';
import type { Problem, SecretValue, SourceKind } from './objectSource.ts';
import { pathText, type SchemaIssue, schemaIssues } from './schemaIssues.ts';
import { secretValue } from './secretValue.ts';
import { suggest } from './suggest.ts';
import { type Path, readYamlDocuments, type YamlDocument } from './yamlDocuments.ts';

/** A valid object of a file; a Secret's bytes are in a Material that whoever holds the object destroys. */
export interface ReadObject {
  kind: SourceKind;
  key: string;
  line: number;
  value: Credential | Integration | { kind: 'Secret'; metadata: Secret['metadata']; secret: SecretValue };
}

/** What a file says. */
export interface ReadFile {
  objects: ReadObject[];
  problems: Problem[];
  /** `Kind namespace/name` of objects that are named but not valid. */
  broken: string[];
  /** Whether there is something in it of which not even kind and name can be told. */
  unreadable: boolean;
}

const KINDS = {
  Credential: { apiVersion: API_VERSION, schema: Credential, name: LabelName },
  Integration: { apiVersion: API_VERSION, schema: Integration, name: LabelName },
  Secret: { apiVersion: 'v1', schema: Secret, name: SubdomainName },
} as const;
const KIND_NAMES = Object.keys(KINDS) as SourceKind[];

/** The objects in the text of a file (relative path `file`), and all that is wrong with it. Never throws. */
export function readObjects(file: string, text: string): ReadFile {
  const result: ReadFile = { objects: [], problems: [], broken: [], unreadable: false };
  const { documents, problem } = readYamlDocuments(text);
  if (problem !== undefined) {
    result.problems.push({ file, ...problem });
    result.unreadable = true;
  }
  for (const document of documents) readValue({ file, document, result }, document.value, []);
  return result;
}

interface Reading {
  file: string;
  document: YamlDocument;
  result: ReadFile;
}

function readValue(reading: Reading, value: unknown, at: Path): void {
  if (!isMapping(value))
    refuse(reading, { at, path: [], message: 'expected an object with apiVersion, kind, metadata and spec' });
  else if (value.kind === 'List' && at.length === 0) readList(reading, value);
  else if (isKind(value.kind)) readObject(reading, value.kind, value, at);
  else refuseKind(reading, value, at);
}

/** Objects of other APIs, such as the Deployment beside an Integration, are for a cluster: they are none of ours. */
function refuseKind(reading: Reading, { apiVersion, kind }: Record<string, unknown>, at: Path): void {
  const path = ['kind'];
  if (typeof kind !== 'string') {
    refuse(reading, { at, path, message: `is missing; expected ${KIND_NAMES.join(', ')} or List` });
    return;
  }
  const meant = suggest(kind, [...KIND_NAMES, 'List']);
  const ours = typeof apiVersion !== 'string' || apiVersion.startsWith(`${API_VERSION.split('/')[0]}/`);
  if (!ours && meant === undefined) return;
  const hint = meant === undefined ? `${KIND_NAMES.join(', ')} and List are read here` : `did you mean ${meant}?`;
  const message = `kind ${JSON.stringify(kind.slice(0, 64))} is not supported; ${hint}`;
  // A slip of a letter may hide an object that was in force; any other kind is none of ours.
  refuse(reading, { at, path, message }, undefined, meant !== undefined);
}

function readList(reading: Reading, list: Record<string, unknown>): void {
  const { apiVersion, items } = list;
  if (apiVersion !== 'v1') refuse(reading, { at: [], path: ['apiVersion'], message: 'expected v1 for kind List' });
  else if (!Array.isArray(items)) refuse(reading, { at: [], path: ['items'], message: 'expected a list of objects' });
  else for (const [index, item] of items.entries()) readValue(reading, item, ['items', index]);
}

function readObject(reading: Reading, kind: SourceKind, value: Record<string, unknown>, at: Path): void {
  const { name } = KINDS[kind];
  const label = labelOf(kind, value, name);
  const { issues, data } = validate(kind, value);
  for (const issue of issues) refuse(reading, { at, object: label, ...issue }, label);
  if (data === undefined) return;
  reading.result.objects.push({
    kind,
    key: objectKey(data.metadata),
    line: reading.document.lineOf(at),
    value: data.kind === 'Secret' ? { kind: data.kind, metadata: data.metadata, secret: secretValue(data) } : data,
  });
}

function validate(
  kind: SourceKind,
  value: Record<string, unknown>,
): { issues: SchemaIssue[]; data?: Credential | Integration | Secret } {
  const { apiVersion, schema } = KINDS[kind];
  if (value.apiVersion !== apiVersion)
    return { issues: [{ path: ['apiVersion'], message: `expected ${apiVersion} for kind ${kind}` }] };
  const parsed = schema.safeParse(value);
  if (!parsed.success) return { issues: schemaIssues(schema as z.ZodType, parsed.error) };
  return { issues: [], data: parsed.data };
}

/** Notes a problem; without a label, or with one that cannot be trusted, the whole file counts as not read. */
function refuse(
  { file, document, result }: Reading,
  issue: SchemaIssue & { at: Path; object?: string | undefined },
  broken?: string,
  unreadable = true,
): void {
  const { at, key, message, object } = issue;
  const path = pathText([...issue.path, ...(key === undefined ? [] : [key])]);
  result.problems.push({
    file,
    line: document.lineOf([...at, ...issue.path], key),
    ...(object !== undefined && { object }),
    ...(path !== '' && { path }),
    message,
  });
  if (broken === undefined) result.unreadable ||= unreadable;
  else if (!result.broken.includes(broken)) result.broken.push(broken);
}

/** `Kind namespace/name` if the object says so in a way that can be trusted. */
function labelOf(kind: SourceKind, value: Record<string, unknown>, nameSchema: z.ZodType): string | undefined {
  if (!isMapping(value.metadata)) return undefined;
  const { name, namespace = DEFAULT_NAMESPACE } = value.metadata;
  if (!nameSchema.safeParse(name).success || !LabelName.safeParse(namespace).success) return undefined;
  return `${kind} ${namespace}/${name}`;
}

function isKind(kind: unknown): kind is SourceKind {
  return typeof kind === 'string' && Object.hasOwn(KINDS, kind);
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
