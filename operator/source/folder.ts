import { join } from 'node:path';
import type { Credential } from '../../api/credential.ts';
import type { Integration } from '../../api/integration.ts';
import { canonicalJson } from '../../lib/auditChain.ts';
import { errorCode } from '../../lib/errors.ts';
import { FileState, twice } from './fileState.ts';
import type { ObjectSource, Problem, SecretValue, SourceObject, SourceSnapshot } from './objectSource.ts';
import { type ReadFile, type ReadObject, readObjects } from './readObjects.ts';
import { readText, type Scan, scanFolder } from './scan.ts';
import { DirectoryWatch } from './watch.ts';

const OBJECTS_LIMIT = 5_000;
/** An editor that writes in place empties the file first: an empty file is believed only when it stays empty. */
const EMPTY_CONFIRM_MS = 400;

/** Objects from a folder of YAML files, followed as they change. */
export class FolderSource implements ObjectSource {
  readonly #folder: string;
  #watch: DirectoryWatch | undefined;
  #files = new Map<string, FileState>();
  #emptySince = new Map<string, number>();
  #snapshot: SourceSnapshot = emptySnapshot;
  readonly #generations = new Map<string, { spec: string; generation: number }>();
  #lastProblems = '';

  constructor(folder: string) {
    this.#folder = folder;
  }

  async start(onChange: () => void): Promise<void> {
    this.#watch = new DirectoryWatch(this.#folder, (touched) => {
      if (this.#read(touched)) onChange();
    });
    this.#read(new Set());
  }

  snapshot(): SourceSnapshot {
    return this.#snapshot;
  }

  close(): void {
    this.#watch?.close();
    destroySecrets(this.#files, new Map());
  }

  /** Whether anything is different from before. */
  #read(touched: ReadonlySet<string>): boolean {
    const scan = scanFolder(this.#folder);
    this.#watch?.set(scan.directories);
    const files = new Map<string, FileState>();
    for (const file of [...scan.files.keys()].sort(byText)) files.set(file, this.#readFile(file, scan, touched));
    // What cannot be looked at is not gone.
    for (const [file, state] of this.#files) if (!files.has(file) && isUnseen(file, scan)) files.set(file, state);
    const problems = [...scan.unseen].map(([file, code]) => unseenProblem(file, code));
    const changed =
      files.size !== this.#files.size || [...files].some(([file, state]) => this.#files.get(file) !== state);
    const problemsText = JSON.stringify(problems);
    const same = !changed && problemsText === this.#lastProblems && this.#snapshot !== emptySnapshot;
    if (same) return false;
    destroySecrets(this.#files, files);
    this.#files = files;
    this.#lastProblems = problemsText;
    this.#snapshot = this.#compose(problems, scan);
    return true;
  }

  #readFile(file: string, scan: Scan, touched: ReadonlySet<string>): FileState {
    const before = this.#files.get(file);
    const signature = scan.files.get(file)!;
    if (before?.signature === signature && !touched.has(file)) return before;
    if (before !== undefined && before.objects.size > 0 && scan.sizes.get(file) === 0 && !this.#stayedEmpty(file)) {
      this.#watch?.again(EMPTY_CONFIRM_MS);
      return before;
    }
    if (scan.sizes.get(file) !== 0) this.#emptySince.delete(file);
    return new FileState(file, signature, readFile(join(this.#folder, file), file), before);
  }

  #stayedEmpty(file: string): boolean {
    const nowMs = performance.now();
    const sinceMs = this.#emptySince.get(file);
    if (sinceMs === undefined) this.#emptySince.set(file, nowMs);
    return sinceMs !== undefined && nowMs - sinceMs >= EMPTY_CONFIRM_MS / 2;
  }

  #compose(scanProblems: readonly Problem[], scan: Scan): SourceSnapshot {
    const problems = [...scanProblems];
    const first = new Map<string, { file: string; object: ReadObject }>();
    const unread = new Set<string>();
    let anything = scan.unseen.size > 0;
    let left = 0;
    for (const [file, state] of [...this.#files].sort(([a], [b]) => byText(a, b))) {
      problems.push(...state.problems);
      anything ||= state.unreadable;
      for (const id of state.unread) unread.add(id);
      for (const [id, object] of state.objects) {
        const winner = first.get(id);
        if (winner !== undefined) problems.push(twice(file, object, winner.file));
        else if (first.size >= OBJECTS_LIMIT) left += 1;
        else first.set(id, { file, object });
      }
    }
    if (left > 0) {
      anything = true;
      problems.push({
        file: '.',
        message: `the folder has more than ${OBJECTS_LIMIT} objects; ${left} of them, last by path, are not read`,
      });
    }
    return {
      ...this.#objects(first),
      problems,
      unreadableSecrets: new Map(),
      invalid: new Map(),
      unread: { anything, objects: unread },
    };
  }

  #objects(all: ReadonlyMap<string, { file: string; object: ReadObject }>) {
    const credentials = new Map<string, SourceObject<Credential>>();
    const integrations = new Map<string, SourceObject<Integration>>();
    const secrets = new Map<string, SourceObject<SecretValue>>();
    const namespaces = new Map<string, Readonly<Record<string, string>>>();
    for (const [id, { file, object }] of all) {
      const { key, value } = object;
      const { namespace } = value.metadata;
      // The label that every namespace of a cluster has.
      namespaces.set(namespace, { 'kubernetes.io/metadata.name': namespace });
      if (value.kind === 'Secret') {
        secrets.set(key, { key, file, value: value.secret, generation: 1 });
        continue;
      }
      const generation = value.metadata.generation ?? this.#generationOf(id, value);
      if (value.kind === 'Credential') credentials.set(key, { key, file, value, generation });
      else integrations.set(key, { key, file, value, generation });
    }
    for (const id of this.#generations.keys()) if (!all.has(id)) this.#generations.delete(id);
    return { credentials, integrations, secrets, namespaces };
  }

  #generationOf(id: string, value: Credential | Integration): number {
    const spec = canonicalJson(value.spec);
    const held = this.#generations.get(id);
    if (held?.spec === spec) return held.generation;
    const generation = (held?.generation ?? 0) + 1;
    this.#generations.set(id, { spec, generation });
    return generation;
  }
}

/** Overwrites the bytes of Secrets that are in no file any more. */
function destroySecrets(before: ReadonlyMap<string, FileState>, after: ReadonlyMap<string, FileState>): void {
  const kept = new Set([...after.values()].flatMap((state) => [...state.objects.values()]));
  for (const state of before.values()) {
    for (const object of state.objects.values())
      if (object.value.kind === 'Secret' && !kept.has(object)) object.value.secret.material.destroy();
  }
}

function readFile(path: string, file: string): ReadFile {
  try {
    return readObjects(file, readText(path));
  } catch (error) {
    const message =
      error instanceof RangeError ? error.message : `the file cannot be read (${errorCode(error) ?? 'unknown error'})`;
    return { objects: [], problems: [{ file, message }], broken: [], unreadable: true };
  }
}

function isUnseen(file: string, scan: Scan): boolean {
  return [...scan.unseen.keys()].some((path) => path === '' || path === file || file.startsWith(`${path}/`));
}

function unseenProblem(file: string, code: string): Problem {
  const name = file === '' ? '.' : file;
  if (code === 'ENOENT') return { file: name, message: 'the folder is gone; what was last read stays in force' };
  return { file: name, message: `cannot be read (${code}); what was last read of it stays in force` };
}

function byText(a: string, b: string): number {
  return a < b ? -1 : 1;
}

const emptySnapshot: SourceSnapshot = {
  credentials: new Map(),
  integrations: new Map(),
  secrets: new Map(),
  namespaces: new Map(),
  problems: [],
  unreadableSecrets: new Map(),
  invalid: new Map(),
  unread: { anything: true, objects: new Set() },
};
