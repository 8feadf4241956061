import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { KubeClient, KubeObject } from './client.ts';
import { Reflector, type ReflectorState } from './reflector.ts';

/**
 * Follows one object of the release's namespace through the API, not as a mounted file: that one comes up to two minutes late, in which
 * the API server may have stopped to trust what it replaces (docs/adr/0024-the-webhook-s-certificate.md).
 */
export class OneObject<T extends object> {
  readonly #reflector: Reflector<T>;
  #last: T | undefined;

  /** `onChange` is not called when the object is gone: what it said stays in use until there is another. */
  constructor(o: {
    client: KubeClient;
    clock: Clock;
    log: Logger;
    path: string;
    name: string;
    read: (object: KubeObject) => T | undefined;
    onChange?: (value: T) => void;
  }) {
    const { client, clock, log, name, onChange, path, read } = o;
    this.#reflector = new Reflector<T>({
      client,
      clock,
      log,
      path,
      query: { fieldSelector: `metadata.name=${name}` },
      keep: read,
      onChange: ({ after }) => {
        if (after === undefined) return;
        this.#last = after;
        onChange?.(after);
      },
    });
  }

  get last(): T | undefined {
    return this.#last;
  }

  get state(): ReflectorState {
    return this.#reflector.state;
  }

  start(): void {
    this.#reflector.start();
  }

  close(): void {
    this.#reflector.close();
  }
}
