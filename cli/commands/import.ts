import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { encodeFields } from '../../api/fields.ts';
import { DEFAULT_NAMESPACE } from '../../api/metadata.ts';
import { errorText } from '../../lib/errors.ts';
import type { AdminClient } from '../adminClient.ts';
import type { Context } from '../context.ts';
import { CliError, usageError } from '../errors.ts';
import { existingFolder } from '../folder.ts';
import { objectsYaml } from '../import/objects.ts';
import { ENV_HEADER, type ImportPlan, type PlannedCredential, planImport } from '../import/plan.ts';
import { commandLines, count } from '../render/table.ts';
import { withStore } from '../store.ts';

export interface ImportOptions {
  dryRun: boolean;
  writeEnv: string | undefined;
  namespace: string | undefined;
}

interface Step {
  credential: PlannedCredential;
  file: string;
  /** What is done with the file of YAML. */
  yaml: 'written' | 'unchanged' | 'kept';
}

/** Moves the keys of a .env file into the store, with the objects to use them and a .env of placeholders. Doing it twice changes nothing. */
export async function importEnv(context: Context, source: string, options: ImportOptions): Promise<void> {
  const plan = planImport(readSource(source), options.namespace ?? DEFAULT_NAMESPACE);
  const dir = resolve(context.cwd, context.dir ?? '.');
  const target = resolve(context.cwd, options.writeEnv ?? `${source}.sidekey`);
  checkTarget(target, resolve(context.cwd, source));
  const steps = plan.credentials.map((credential) => stepOf(dir, credential));
  if (!options.dryRun && steps.length > 0) {
    mkdirSync(dir, { recursive: true });
    await withStore(context, existingFolder(dir), async (admin) => {
      for (const step of steps) await setMaterial(admin, step.credential);
    });
    for (const step of steps) {
      if (step.yaml === 'written') writeFileSync(join(dir, step.file), objectsYaml(step.credential));
    }
    writePrivately(target, plan.newEnv);
  }
  const result = { dryRun: options.dryRun, imported: steps.map(resultOf), untouched: plan.untouched, env: target };
  context.result(result, () => report(context, { plan, steps, dir, source, target, dryRun: options.dryRun }));
}

function readSource(source: string): string {
  try {
    return readFileSync(source, 'utf8');
  } catch (error) {
    throw new CliError('SourceUnreadable', `${source} cannot be read: ${errorText(error)}`, {
      next: 'name a file of NAME=value lines, such as .env',
    });
  }
}

function checkTarget(target: string, source: string): void {
  if (target === source)
    throw usageError(
      `${target} holds the only copy of your keys and is not overwritten`,
      'write the placeholders to another file with --write-env, and move it over once everything works',
    );
  if (existsSync(target) && !readFileSync(target, 'utf8').startsWith(ENV_HEADER))
    throw new CliError('FileExists', `${target} is there already and was not written by sidekey import`, {
      next: 'name another file with --write-env FILE',
    });
}

function stepOf(dir: string, credential: PlannedCredential): Step {
  const file = `${credential.provider.name}.yaml`;
  const path = join(dir, file);
  if (!existsSync(path)) return { credential, file, yaml: 'written' };
  const same = readFileSync(path, 'utf8') === objectsYaml(credential);
  return { credential, file, yaml: same ? 'unchanged' : 'kept' };
}

async function setMaterial(admin: AdminClient, { key, fields }: PlannedCredential): Promise<void> {
  const frame = encodeFields(fields.map(({ field, value }) => [field, Buffer.from(value)] as const));
  try {
    await admin.setMaterial(key, frame);
  } finally {
    frame.fill(0);
  }
}

function writePrivately(path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o600 });
  chmodSync(path, 0o600);
}

function resultOf({ credential, file, yaml }: Step) {
  const { key, placeholder, hosts, fields, provider } = credential;
  const variables = fields.flatMap((field) => field.variables);
  return { credential: key, provider: provider.name, tag: provider.tag, hosts, variables, placeholder, file, yaml };
}

interface Report {
  plan: ImportPlan;
  steps: Step[];
  dir: string;
  source: string;
  target: string;
  dryRun: boolean;
}

function report(context: Context, { plan, steps, dir, source, target, dryRun }: Report): string {
  const here = (path: string) => relative(context.cwd, path) || '.';
  const lines: string[] = [];
  if (steps.length === 0)
    lines.push(`${source} has no variable that is known to hold an API key; nothing was imported`);
  for (const { credential, file, yaml } of steps) {
    const variables = credential.fields.flatMap((field) => field.variables).join(', ');
    const words = {
      written: `${dryRun ? 'would write' : 'wrote'} ${file}`,
      unchanged: `${file} is unchanged`,
      kept: `${file} differs and was kept`,
    };
    lines.push(`${context.paint('green', '✓')} ${variables} → credential ${credential.key} (${words[yaml]})`);
  }
  lines.push(...untouchedLines(context, plan));
  if (dryRun) return [...lines, '', 'Nothing was written: this was a dry run.'].join('\n');
  if (steps.length === 0) return lines.join('\n');
  const tags = [...new Set(steps.map(({ credential }) => `--tag ${credential.provider.tag}`))].join(' ');
  const folder = here(dir);
  lines.push(
    `${context.paint('green', '✓')} ${here(target)}: ${count(steps.length, 'placeholder')}, mode 0600`,
    '',
    'Next:',
    ...commandLines([
      [`sidekey up ${folder}`, 'keep it running in another terminal'],
      [`sidekey run --dir ${folder} ${tags} -- CMD`, `with ${here(target)} where ${source} was`],
      [`shred -u ${source}`, 'once that works'],
    ]),
    'A key that an agent could read before may have been copied. Make a new one at the provider, then:',
    `  sidekey credential set --dir ${folder} ${steps[0]!.credential.name}`,
  );
  return lines.join('\n');
}

function untouchedLines(context: Context, { untouched }: ImportPlan): string[] {
  const suspects = untouched.filter(({ maybeSecret, why }) => maybeSecret || why !== undefined);
  const plain = untouched.filter((one) => !suspects.includes(one));
  const lines = suspects.map(
    ({ name, why }) =>
      `${context.paint('yellow', '!')} ${name} is left as it is: ${why ?? 'not a key that is known here, but it may be a secret, which the agent still sees'}`,
  );
  if (plain.length > 0) lines.push(`  left as they are: ${plain.map(({ name }) => name).join(', ')}`);
  return lines;
}
