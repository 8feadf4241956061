import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { helm } from '../cluster/kubectl.ts';

export const CHART = join(import.meta.dirname, '../../charts/sidekey');
const VALUES = join(import.meta.dirname, 'values');
export const RELEASE_NAMESPACE = 'sidekey-system';

/** An object as the chart renders it, as far as tests look at it. */
export interface Rendered {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  // biome-ignore lint/suspicious/noExplicitAny: of any kind
  [slot: string]: any;
}

/** Files of values that the chart is rendered with. */
export function valuesFiles(): { name: string; file: string }[] {
  return readdirSync(VALUES).map((file) => ({ name: file.replace(/\.yaml$/, ''), file: join(VALUES, file) }));
}

/** What `helm template` says of the chart, with the error in place of an answer if it says no. */
export function template(...args: string[]): Promise<{ text: string; error: string }> {
  return withoutCluster('template', ...args);
}

/** What is said after an installation. */
export async function notes(...args: string[]): Promise<string> {
  const { text } = await withoutCluster('install', '--dry-run=client', ...args);
  return text.slice(text.indexOf('NOTES:'));
}

async function withoutCluster(command: string, ...args: string[]): Promise<{ text: string; error: string }> {
  const cacheDir = mkdtempSync(join(tmpdir(), 'sidekey-helm-'));
  try {
    // Nothing may be asked of a cluster that whoever runs this is logged in to.
    const none = join(cacheDir, 'no-kubeconfig');
    const { code, stderr, stdout } = await helm(
      [command, 'sidekey', CHART, '--namespace', RELEASE_NAMESPACE, ...args],
      { kubeconfigFile: none, cacheDir },
    );
    return { text: stdout, error: code === 0 ? '' : stderr };
  } finally {
    rmSync(cacheDir, { recursive: true, force: true });
  }
}

/** The chart's objects. @throws Error with helm's words */
export async function render(...args: string[]): Promise<Rendered[]> {
  const { error, text } = await template(...args);
  if (error !== '') throw new Error(error);
  return objectsIn(text);
}

export function objectsIn(text: string): Rendered[] {
  return parseAllDocuments(text).flatMap((document) => {
    const object = document.toJS() as Rendered | null;
    return object === null ? [] : [object];
  });
}

/** @throws Error if there is none */
export function find(objects: readonly Rendered[], kind: string, name: string): Rendered {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  if (found === undefined) throw new Error(`the chart renders no ${kind} ${name}`);
  return found;
}
