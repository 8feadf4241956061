import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { definitions } from './definition.ts';

/** Writes the CRDs that api/ stands for, alone and for the chart; with --check it only tells whether they are up to date. */
const ROOT = join(import.meta.dirname, '..', '..');
const HEADER = '# Written by `make generate` from api/; edit the schemas there.\n';
const KEEP = { 'helm.sh/resource-policy': 'keep' };

const check = process.argv.includes('--check');
const stale = files().filter(({ path, text }) => read(path) !== text);
for (const { path, text } of stale) {
  if (check) continue;
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
}
if (check && stale.length > 0) {
  const names = stale.map(({ path }) => path.slice(ROOT.length + 1)).join(', ');
  console.error(`${names}: not what api/ says. Run \`make generate\`, read the diff, and commit it.`);
  process.exit(1);
}

function files(): { path: string; text: string }[] {
  return Object.entries(definitions()).flatMap(([name, definition]) => {
    const { metadata, ...rest } = definition as { metadata: object; apiVersion: string; kind: string; spec: object };
    const { apiVersion, kind, spec } = rest;
    const kept = { apiVersion, kind, metadata: { ...metadata, annotations: KEEP }, spec };
    return [
      { path: join(ROOT, 'crds', name), text: yaml(definition) },
      { path: join(ROOT, 'charts', 'sidekey-crds', 'templates', name), text: template(yaml(kept)) },
    ];
  });
}

function yaml(value: object): string {
  return HEADER + stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
}

/** Helm reads what is between double braces. */
function template(text: string): string {
  if (text.includes('{{')) throw new RangeError('a description has {{, which Helm would read');
  return text;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
