import type { AdminCredential } from '../../api/admin.ts';
import { DEFAULT_FIELD, encodeFields } from '../../api/fields.ts';
import { DEFAULT_NAMESPACE, LabelName, WordName } from '../../api/metadata.ts';
import { materialProblem } from '../../operator/decide/materialProblem.ts';
import { suggest } from '../../operator/source/suggest.ts';
import type { Context } from '../context.ts';
import { CliError, usageError } from '../errors.ts';
import { type Folder, findFolder, objectsFolder } from '../folder.ts';
import { folderObjects } from '../folderGrants.ts';
import { age, table } from '../render/table.ts';
import { readSecret } from '../secretInput.ts';
import { withStore } from '../store.ts';

/** Gives a credential with source `store` its value, which comes from standard input and never from the command line. */
export async function setCredential(
  context: Context,
  name: string,
  extra: readonly string[],
  options: { field?: string[] | undefined; namespace?: string | undefined },
): Promise<void> {
  if (extra.length > 0)
    throw usageError(
      'the value does not go on the command line, where every process of this machine and the shell history can read it',
      `type it at the prompt, or send it in: sidekey credential set ${name} < FILE   If it was a real value, replace it.`,
    );
  const key = keyOf(name, options.namespace);
  const names = options.field ?? [DEFAULT_FIELD];
  checkFields(names);
  const folder = objectsFolder(context);
  const fields: [string, Buffer][] = [];
  let frame: Buffer | undefined;
  try {
    for (const field of names) fields.push([field, await readSecret(context, labelOf(key, field, names.length))]);
    const empty = fields.find(([, bytes]) => bytes.length === 0);
    if (empty !== undefined)
      throw new CliError('EmptyMaterial', `the input for field ${empty[0]} is empty; nothing was set`, {
        next: `send the value to standard input: sidekey credential set ${name} < FILE`,
      });
    const unfit = fields.find(([, bytes]) => materialProblem(bytes) !== undefined);
    if (unfit !== undefined)
      throw new CliError(
        'InvalidMaterial',
        `the input for field ${unfit[0]} is too long, or has line breaks or other control bytes, and cannot be placed in a request; nothing was set`,
        { next: `send the value alone, on one line: sidekey credential set ${name} < FILE` },
      );
    frame = encodeFields(fields);
    const body = frame;
    const stored = await withStore(context, folder, (admin) => admin.setMaterial(key, body));
    context.result({ key, version: stored.version, fields: stored.fields }, () => {
      return `credential ${key} set: version ${stored.version}, ${stored.fields.join(', ')}`;
    });
    // In a cluster the objects are not in the folder.
    if (!context.forwarded) await warnIfUnnamed(context, folder, key);
  } finally {
    for (const [, bytes] of fields) bytes.fill(0);
    frame?.fill(0);
  }
}

/** A value may be set before the YAML is there, but most often the name is a typing error. */
async function warnIfUnnamed(context: Context, folder: Folder, key: string): Promise<void> {
  const { credentials, problems } = await folderObjects(folder.path);
  const broken = problems.flatMap(({ object }) => (object?.startsWith('Credential ') ? [object.slice(11)] : []));
  const names = [...credentials.keys(), ...broken];
  if (names.includes(key)) return;
  const meant = suggest(key, names);
  context.warn(
    `no Credential in ${folder.path} is named ${key}${meant === undefined ? '' : `; did you mean ${meant}?`} Take the value out again with: sidekey credential rm ${key}`,
  );
}

function checkFields(names: readonly string[]): void {
  for (const field of names) {
    if (!WordName.safeParse(field).success)
      throw usageError(`${field} is no field name`, 'a field is letters, digits, dashes, dots and underscores');
  }
  if (new Set(names).size !== names.length) throw usageError('a field is named twice');
  if (names.length > 1 && !process.stdin.isTTY)
    throw usageError(
      'several fields need a terminal, where each is asked for: standard input can carry only one',
      'all fields of a credential are set together; for scripts use source: secret with a Secret in YAML of its own',
    );
}

function labelOf(key: string, field: string, fields: number): string {
  return fields === 1 ? `Value of ${key}` : `Field ${field} of ${key}`;
}

export async function listCredentials(context: Context, namespace: string | undefined): Promise<void> {
  const all = await withStore(context, findFolder(context), (admin) => admin.credentials());
  const credentials = all.filter((credential) => namespace === undefined || credential.key.startsWith(`${namespace}/`));
  context.result(credentials, () => {
    if (credentials.length === 0) return 'the store holds no credentials; set one with `sidekey credential set NAME`';
    return table(['CREDENTIAL', 'SOURCE', 'VERSION', 'FIELDS', 'UPDATED'], credentials.map(rowOf));
  });
}

function rowOf({ key, source, version, fields, updatedAt }: AdminCredential): string[] {
  return [
    key,
    source ?? '- (no Credential names it)',
    version === 0 ? '- (no material)' : String(version),
    fields.join(',') || '-',
    updatedAt === undefined ? '-' : `${age(Date.now() - Date.parse(updatedAt))} ago`,
  ];
}

export async function removeCredential(context: Context, name: string, namespace: string | undefined): Promise<void> {
  const key = keyOf(name, namespace);
  await withStore(context, findFolder(context), (admin) => admin.removeMaterial(key));
  context.result({ key, removed: true }, () => `material of credential ${key} removed; leases of it end now`);
}

/** `namespace/name` of a name that may come with its namespace. @throws Usage */
export function keyOf(name: string, namespace: string | undefined): string {
  const [first = '', second] = name.split('/', 2);
  const key = { namespace: second === undefined ? (namespace ?? DEFAULT_NAMESPACE) : first, name: second ?? first };
  for (const part of [key.namespace, key.name]) {
    if (!LabelName.safeParse(part).success)
      throw usageError(
        `${name} is no name of a Credential`,
        'names are lower-case letters, digits and dashes, such as openai-key',
      );
  }
  return `${key.namespace}/${key.name}`;
}
