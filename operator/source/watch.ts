import { type FSWatcher, watch } from 'node:fs';
import { join } from 'node:path';

/** Short enough to be felt as at once, long enough for an editor to finish its rename. */
const DEBOUNCE_MS = 50;
/** A folder that never rests is read nevertheless. */
const DEBOUNCE_LIMIT_MS = 250;
/** The safety net: links to elsewhere, network file systems, lost events. */
const POLL_MS = 2_000;

/** Tells when something in some directories may have changed, once per burst; also regularly without a reason. */
export class DirectoryWatch {
  readonly #folder: string;
  readonly #onChange: (touched: ReadonlySet<string>) => void;
  readonly #watchers = new Map<string, { watcher: FSWatcher; identity: string }>();
  #touched = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #firstAtMs = 0;
  readonly #poll: NodeJS.Timeout;

  /** `touched`: relative paths that were named by an event, so that a change too quick for the clock is seen too. */
  constructor(folder: string, onChange: (touched: ReadonlySet<string>) => void) {
    this.#folder = folder;
    this.#onChange = onChange;
    this.#poll = setInterval(() => this.#fire(), POLL_MS);
  }

  /** Watches exactly these directories from now on: relative path → identity (scan.ts). */
  set(directories: ReadonlyMap<string, string>): void {
    for (const [directory, { identity, watcher }] of this.#watchers) {
      if (directories.get(directory) === identity) continue;
      watcher.close();
      this.#watchers.delete(directory);
    }
    for (const [directory, identity] of directories) if (!this.#watchers.has(directory)) this.#add(directory, identity);
  }

  /** Looks again after `ms`, or earlier if something happens. */
  again(ms: number): void {
    this.#timer ??= setTimeout(() => this.#fire(), ms);
  }

  close(): void {
    clearInterval(this.#poll);
    clearTimeout(this.#timer);
    for (const { watcher } of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #add(directory: string, identity: string): void {
    try {
      const watcher = watch(join(this.#folder, directory), (_event, name) => this.#changed(directory, name));
      watcher.on('error', () => this.#drop(directory, watcher));
      this.#watchers.set(directory, { watcher, identity });
    } catch {
      // Gone, or no watches left in the kernel: the poll sees it.
    }
  }

  #drop(directory: string, watcher: FSWatcher): void {
    watcher.close();
    if (this.#watchers.get(directory)?.watcher === watcher) this.#watchers.delete(directory);
    this.#changed(directory, null);
  }

  #changed(directory: string, name: string | null): void {
    // Swap files of editors and our own state; but `..data` is how a ConfigMap changes.
    if (name?.startsWith('.') && !name.startsWith('..')) return;
    if (name !== null) this.#touched.add(directory === '' ? name : `${directory}/${name}`);
    const nowMs = performance.now();
    if (this.#firstAtMs === 0) this.#firstAtMs = nowMs;
    const leftMs = Math.max(0, Math.min(DEBOUNCE_MS, this.#firstAtMs + DEBOUNCE_LIMIT_MS - nowMs));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fire(), leftMs);
  }

  #fire(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#firstAtMs = 0;
    const touched = this.#touched;
    this.#touched = new Set();
    this.#onChange(touched);
  }
}
