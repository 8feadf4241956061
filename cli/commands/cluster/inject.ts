import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import { parseAllDocuments, stringify } from 'yaml';
import { INJECT_LABEL } from '../../../api/pods.ts';
import { errorText } from '../../../lib/errors.ts';
import { injectSidecar } from '../../../webhook/inject/injectSidecar.ts';
import type { InjectSettings } from '../../../webhook/inject/settings.ts';
import type { Access } from '../../cluster/access.ts';
import { injectSettings } from '../../cluster/injectSettings.ts';
import type { Context } from '../../context.ts';
import { CliError, usageError } from '../../errors.ts';
import { EXIT } from '../../exitCodes.ts';

type Manifest = Record<string, unknown> & {
  kind?: string;
  metadata?: { name?: string; namespace?: string };
  spec?: Record<string, unknown>;
};

/** Shows what the webhook would make of the pods in a file. @throws CliError Usage, InjectionRefused */
export async function clusterInject(
  context: Context,
  access: Access,
  flags: { filename: string; diff?: boolean; namespace?: string },
): Promise<void> {
  const before = read(flags.filename);
  const after: Manifest[] = [];
  for (const manifest of before) {
    const namespace = manifest.metadata?.namespace ?? flags.namespace ?? access.namespace;
    const template = templateOf(manifest);
    after.push(
      template === undefined
        ? manifest
        : template.put(injected(context, manifest, template.pod, await injectSettings(access, namespace))),
    );
  }
  const [was, is] = [before, after].map((manifests) => manifests.map((manifest) => stringify(manifest)).join('---\n'));
  if (flags.diff) context.print(diff(was!, is!));
  else context.result(after.length === 1 ? after[0] : after, () => is!.trimEnd());
}

function read(filename: string): Manifest[] {
  let text: string;
  try {
    text = readFileSync(filename === '-' ? 0 : filename, 'utf8');
  } catch (error) {
    throw usageError(`${filename} cannot be read: ${errorText(error)}`);
  }
  const documents = parseAllDocuments(text);
  const [problem] = documents.flatMap(({ errors }) => errors);
  if (problem !== undefined) throw usageError(`${filename} is no YAML: ${problem.message}`);
  return documents.map((document) => document.toJS() as Manifest).filter((manifest) => manifest !== null);
}

interface Template {
  pod: V1Pod;
  put(pod: V1Pod): Manifest;
}

/** Where in the object its pods are, if it has any. */
function templateOf(manifest: Manifest): Template | undefined {
  if (manifest.kind === 'Pod') return { pod: manifest as V1Pod, put: (pod) => pod as Manifest };
  const path = manifest.kind === 'CronJob' ? ['jobTemplate', 'spec'] : [];
  let at: Record<string, unknown> | undefined = manifest.spec;
  for (const name of path) at = at?.[name] as Record<string, unknown> | undefined;
  const template = at?.template as V1Pod | undefined;
  if (template?.spec === undefined) return undefined;
  return {
    pod: template,
    put: (pod) => {
      const copy = structuredClone(manifest);
      let into = copy.spec!;
      for (const name of path) into = into[name] as Record<string, unknown>;
      into.template = { metadata: pod.metadata, spec: pod.spec };
      return copy;
    },
  };
}

function injected(context: Context, { kind, metadata }: Manifest, pod: V1Pod, settings: InjectSettings): V1Pod {
  const what = `${kind} ${metadata?.name ?? ''}`;
  const injection = injectSidecar(pod, settings);
  if ('refuse' in injection)
    throw new CliError(injection.refuse, `${what} would be refused: ${injection.reason}`, { exit: EXIT.refused });
  if ('skip' in injection) {
    const hint = injection.skip === 'NotLabelled' ? `; its pods need the label ${INJECT_LABEL}: "true"` : '';
    context.warn(`${what} would stay as it is: ${injection.reason}${hint}`);
    return injection.pod;
  }
  for (const warning of injection.warnings) context.warn(`${what}: ${warning}`);
  return injection.pod;
}

/** As kubectl diff does, by the system's diff. */
function diff(was: string, is: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-diff-'));
  try {
    writeFileSync(join(dir, 'before'), was);
    writeFileSync(join(dir, 'after'), is);
    const { error, stdout } = spawnSync('diff', ['-u', 'before', 'after'], { cwd: dir, encoding: 'utf8' });
    if (error !== undefined) throw new CliError('NoDiff', 'there is no diff command', { next: 'leave --diff out' });
    return stdout.trimEnd();
  } finally {
    rmSync(dir, { recursive: true });
  }
}
