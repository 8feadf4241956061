import { lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { sharedLibraries } from './sharedLibraries.ts';
import { type TarEntry, tar } from './tar.ts';

const SYSTEM_DIRS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** What a layer of an image has, gathered from files of this machine; sources leave no trace in it. */
export class RootFilesystem {
  readonly #entries = new Map<string, TarEntry>();
  /** Programs and libraries of this machine whose own libraries are still to come. */
  readonly #linked: string[] = [];

  /** A directory, and those above it. */
  dir(path: string, mode = 0o755, owner = 0): this {
    for (let above = dirname(path); above !== '/'; above = dirname(above))
      if (!this.#entries.has(above)) this.#put(above, { mode: 0o755, content: 'dir' });
    return path === '/' ? this : this.#put(path, { mode, uid: owner, gid: owner, content: 'dir' });
  }

  file(path: string, content: Buffer | string, mode = 0o644): this {
    return this.dir(dirname(path)).#put(path, {
      mode,
      content: { file: typeof content === 'string' ? Buffer.from(content) : content },
    });
  }

  link(path: string, to: string): this {
    return this.dir(dirname(path)).#put(path, { mode: 0o777, content: { link: to } });
  }

  /** A program of this machine, with the libraries it needs, by its name or its file. */
  program(path: string, source = installed(path)): this {
    this.file(path, readFileSync(source), 0o755);
    this.#linked.push(source);
    return this;
  }

  /** All files below a directory of this machine that `wanted` takes. */
  tree(path: string, source: string, wanted: (path: string) => boolean = () => true): this {
    for (const name of readdirSync(source).sort()) {
      const from = join(source, name);
      if (!wanted(from)) continue;
      const stat = lstatSync(from);
      if (stat.isDirectory()) this.tree(join(path, name), from, wanted);
      else if (statSync(from).isFile()) {
        this.file(join(path, name), readFileSync(from), (stat.mode & 0o111) !== 0 ? 0o755 : 0o644);
        if (name.endsWith('.so')) this.#linked.push(from);
      }
    }
    return this;
  }

  get layer(): Buffer {
    for (const library of sharedLibraries(this.#linked.splice(0))) this.#library(library);
    return tar([...this.#entries.values()]);
  }

  /** Below /usr, with links to there, as Debian has it. */
  #library(path: string): void {
    for (const dir of ['lib', 'lib64']) this.dir(`/usr/${dir}`).link(`/${dir}`, `usr/${dir}`);
    this.file(path.replace(/^\/(?=lib(64)?\/)/, '/usr/'), readFileSync(path), 0o755);
  }

  #put(path: string, entry: Omit<TarEntry, 'path'>): this {
    this.#entries.set(path, { path: path.slice(1), ...entry });
    return this;
  }
}

/** @throws Error that names the program */
function installed(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1);
  for (const dir of [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_DIRS]) {
    if (dir.includes('shims')) continue;
    if (statSync(join(dir, name), { throwIfNoEntry: false })?.isFile()) return join(dir, name);
  }
  throw new Error(
    `${name} is not installed, and an image needs it. Run: apt-get install --no-install-recommends ${PACKAGES[name] ?? name}`,
  );
}

const PACKAGES: Readonly<Record<string, string>> = { nft: 'nftables', python3: 'python3', sh: 'dash' };
