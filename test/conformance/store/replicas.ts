import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stateFiles } from '../../../lib/stateDir.ts';
import { StoreProcess } from '../../store/storeProcess.ts';

/** Real store processes on one database, each with a state directory of its own and the same key file. */
export class Replicas {
  readonly all: StoreProcess[] = [];
  readonly #dir: string;
  readonly #databaseUrls: readonly string[];

  private constructor(databaseUrls: readonly string[]) {
    this.#dir = mkdtempSync(join(tmpdir(), 'sidekey-replicas-'));
    this.#databaseUrls = databaseUrls;
  }

  /** One for each URL: the ways by which each reaches the database. */
  static async start(databaseUrls: readonly string[]): Promise<Replicas> {
    const count = databaseUrls.length;
    const replicas = new Replicas(databaseUrls);
    const kek = () => stateFiles(replicas.#stateDir(0)).kek;
    replicas.all.push(await replicas.#start(0));
    for (let index = 1; index < count; index += 1) {
      mkdirSync(replicas.#stateDir(index), { mode: 0o700 });
      copyFileSync(kek(), stateFiles(replicas.#stateDir(index)).kek);
    }
    // All at once, as a deployment would.
    const others = Array.from({ length: count - 1 }, (_, index) => replicas.#start(index + 1));
    replicas.all.push(...(await Promise.all(others)));
    return replicas;
  }

  /** After `kill`, at the same port. */
  async restart(index: number): Promise<void> {
    const port = Number(new URL(this.all[index]!.storeUrl).port);
    this.all[index] = await this.#start(index, port);
  }

  /** As a sidecar is told of them. */
  get urls(): string {
    return this.all.map(({ storeUrl }) => storeUrl).join(',');
  }

  async stop(): Promise<void> {
    await Promise.all(this.all.map((store) => store.kill()));
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #start(index: number, port?: number): Promise<StoreProcess> {
    const options = { databaseUrl: this.#databaseUrls[index]!, ...(port !== undefined && { port }) };
    return StoreProcess.start(this.#stateDir(index), options);
  }

  #stateDir(index: number): string {
    return join(this.#dir, `replica-${index}`);
  }
}
