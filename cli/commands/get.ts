import { existsSync } from 'node:fs';
import { DEFAULT_NAMESPACE } from '../../api/metadata.ts';
import type { StatusFile } from '../../api/statusFile.ts';
import { errorCode, errorText } from '../../lib/errors.ts';
import type { Context } from '../context.ts';
import { CliError, usageError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import { type Folder, findFolder, notRunning, readRunFile } from '../folder.ts';
import { statusText } from '../render/status.ts';
import { age } from '../render/table.ts';
import { readStatus } from '../up/statusWatch.ts';

const KINDS: Readonly<Record<string, 'Credential' | 'Integration'>> = {
  credential: 'Credential',
  credentials: 'Credential',
  cred: 'Credential',
  integration: 'Integration',
  integrations: 'Integration',
  integ: 'Integration',
};

/** Shows objects, their conditions and what is wrong in the files, as the operator last wrote them. */
export function get(context: Context, kind: string | undefined, name: string | undefined, namespace?: string): void {
  const folder = findFolder(context);
  const status = statusOf(folder);
  const selected = select(status, kind, name, namespace);
  context.result(selected, () => {
    const text = statusText(selected, {
      paint: (style, cell) => context.paint(style, cell),
      wide: context.output === 'wide',
      nowMs: Date.now(),
    });
    return text === '' ? `nothing yet in ${folder.path}: put Credential and Integration YAML there` : text;
  });
  if (readRunFile(folder.files) === undefined) {
    const old = age(Date.now() - Date.parse(status.reconciledAt));
    context.note(`nothing runs on ${folder.path}; this is what was so ${old} ago (${status.reconciledAt})`);
  }
}

function statusOf(folder: Folder): StatusFile {
  try {
    return readStatus(folder.files.status);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' && readRunFile(folder.files) !== undefined)
      throw new CliError('NoStatus', `no operator has looked at ${folder.path}`, {
        next: 'with `sidekey up --no-operator`, ask where the operator runs: sidekey get --dir DIR',
      });
    if (errorCode(error) === 'ENOENT') throw notRunning(folder);
    if (errorCode(error) === 'EACCES')
      throw new CliError('NotOwner', `${folder.files.dir} is not yours to read`, {
        exit: EXIT.notRunning,
        next: 'run this as the user that started `sidekey up`',
      });
    throw new CliError('StatusUnreadable', `${folder.files.status} cannot be read: ${errorText(error)}`, {
      next: existsSync(folder.files.status)
        ? 'restart sidekey up, which writes it anew'
        : `start it: sidekey up ${folder.path}`,
    });
  }
}

/** What was asked for. @throws Usage, NotFound */
export function select(
  status: StatusFile,
  kind: string | undefined,
  name: string | undefined,
  namespace?: string,
): StatusFile {
  if (kind === undefined || kind === 'all') {
    return { ...status, objects: status.objects.filter((object) => inNamespace(object.key, namespace)) };
  }
  const wanted = KINDS[kind.toLowerCase()];
  if (wanted === undefined) throw usageError(`there is no kind ${kind}`, 'the kinds are credentials and integrations');
  const objects = status.objects.filter((object) => object.kind === wanted && inNamespace(object.key, namespace));
  if (name === undefined) return { ...status, objects };
  const key = name.includes('/') ? name : `${namespace ?? DEFAULT_NAMESPACE}/${name}`;
  const found = objects.filter((object) => object.key === key);
  if (found.length === 0)
    throw new CliError('NotFound', `there is no ${wanted} ${key}`, {
      next:
        objects.length === 0
          ? 'there is none at all; see what the files hold with `sidekey get`'
          : `there are: ${objects.map((object) => object.key).join(', ')}`,
    });
  return { ...status, objects: found, problems: [] };
}

function inNamespace(key: string, namespace: string | undefined): boolean {
  return namespace === undefined || key.startsWith(`${namespace}/`);
}
