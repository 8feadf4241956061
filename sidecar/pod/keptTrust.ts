import { X509Certificate } from 'node:crypto';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { PrivateFiles } from './privateFiles.ts';

const FILE = 'trust-bundle.pem';

/** What the store is trusted by: what the pod was injected with, and the newest that the store has said, which a restarted container needs after the root has changed. */
export class KeptTrust {
  readonly #files: PrivateFiles;
  readonly #log: Logger;
  readonly #injectedPem: string;
  #newestPem: string;

  constructor(files: PrivateFiles, injectedPem: string, log: Logger) {
    this.#files = files;
    this.#log = log;
    this.#injectedPem = injectedPem;
    this.#newestPem = this.#load();
  }

  get pem(): string {
    return `${this.#injectedPem}\n${this.#newestPem}`;
  }

  keep(pem: string): void {
    if (pem === this.#newestPem) return;
    this.#newestPem = pem;
    try {
      this.#files.write(FILE, Buffer.from(pem));
    } catch (error) {
      const file = this.#files.path(FILE);
      this.#log.warn({ file, error: errorText(error) }, 'the trust bundle of the store could not be kept');
    }
  }

  #load(): string {
    try {
      const pem = this.#files.read(FILE)?.toString('latin1') ?? '';
      if (pem !== '') new X509Certificate(pem);
      return pem;
    } catch (error) {
      const file = this.#files.path(FILE);
      this.#log.warn({ file, error: errorText(error) }, 'the trust bundle that was kept is not usable');
      return '';
    }
  }
}
