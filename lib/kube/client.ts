import { Agent, type Dispatcher, request } from 'undici';
import { errorCode } from '../errors.ts';
import { fence } from '../fence.ts';
import { TLS_DEFAULTS } from '../tls.ts';
import { type KubeCall, KubeError, type KubeStatus } from './kubeError.ts';
import type { KubeObject, Query, WatchEvent } from './kubeObject.ts';
import { linesOf } from './lines.ts';

export { KubeError } from './kubeError.ts';
export type { KubeObject, Query, WatchEvent } from './kubeObject.ts';

const CONNECT_MS = 5_000;
const ANSWER_MS = 30_000;
/** A peer that is gone without a word shows within that and ten seconds more (libuv probes ten times, each second). */
const KEEP_ALIVE_PROBE_MS = 15_000;
const PAGE_ITEMS = 500;
/** Of a refusal that is not the API server's, what is kept. */
const FOREIGN_CHARS = 4_096;
/** How long a watch lasts by our wish, spread so that many do not end at once (as client-go: 5 to 10 minutes). */
const WATCH_SECONDS = 300;
/** Bookmarks come once a minute; a watch that is silent for longer is dead. */
const WATCH_SILENCE_MS = 150_000;
const CONTENT_TYPES = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
} as const;
/** JSON is YAML (KEP-555). */
const APPLY_CONTENT_TYPE = 'application/apply-patch+yaml';

/** An API server, and who we are to it. */
export interface KubeTarget {
  /** https://host:port, perhaps with a path. */
  url: string;
  /** The system's roots without it. */
  caPem?: string | undefined;
  /** Asked before each request: Authorization, if there is any. */
  headers: () => Promise<Record<string, string>>;
  clientCert?: { certPem: string; keyPem: string } | undefined;
  /** What the certificate must name, if that is not the host of the URL. */
  serverName?: string | undefined;
  /** What a kubeconfig calls insecure-skip-tls-verify. */
  unverified?: boolean | undefined;
}

interface Asked {
  method: Dispatcher.HttpMethod;
  verb: string;
  path: string;
  query?: Query | undefined;
  body?: object | undefined;
  contentType?: string;
}

/** The Kubernetes API as JSON over HTTP/1.1, on connections that are kept (docs/adr/0021-own-kubernetes-client.md). */
export class KubeClient {
  readonly #target: KubeTarget;
  readonly #base: string;
  readonly #agent: Agent;
  readonly #dispatcher: Dispatcher;
  readonly #onError: (error: KubeError) => void;

  /** `refusal`: what speaks against a change, asked when it is about to be sent. */
  constructor(
    target: KubeTarget,
    options: { onError?: (error: KubeError) => void; refusal?: () => Error | undefined } = {},
  ) {
    this.#target = target;
    this.#onError = options.onError ?? (() => {});
    this.#base = target.url.replace(/\/+$/, '');
    const { caPem, clientCert, serverName, unverified } = target;
    this.#agent = new Agent({
      // Each watch takes a connection of its own: a bound here would starve what is short.
      allowH2: false,
      headersTimeout: ANSWER_MS,
      bodyTimeout: ANSWER_MS,
      connect: {
        ...TLS_DEFAULTS,
        timeout: CONNECT_MS,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
        ...(caPem !== undefined && { ca: caPem }),
        ...(clientCert !== undefined && { cert: clientCert.certPem, key: clientCert.keyPem }),
        ...(serverName !== undefined && { servername: serverName }),
        ...(unverified === true && { rejectUnauthorized: false }),
      },
    });
    this.#dispatcher = options.refusal === undefined ? this.#agent : this.#agent.compose(fence(options.refusal));
  }

  /** Where the API server is. */
  get url(): string {
    return this.#base;
  }

  /** @throws KubeRefused, KubeUnreachable (as everything here) */
  get<T>(path: string, query?: Query): Promise<T> {
    return this.#json<T>({ method: 'GET', verb: 'get', path, query });
  }

  /** Everything that a list has, page after page, as of one resourceVersion. */
  async list<T>(path: string, query?: Query): Promise<{ items: T[]; resourceVersion: string }> {
    const items: T[] = [];
    let resourceVersion = '';
    for await (const page of this.pages<T>(path, query)) {
      for (const item of page.items) items.push(item);
      resourceVersion = page.resourceVersion;
    }
    return { items, resourceVersion };
  }

  /** The same a page at a time, for who keeps little of it; `limit` of the query is the size of a page. @throws KubeRefused with 410 if it took too long */
  async *pages<T>(path: string, query: Query = {}): AsyncGenerator<{ items: T[]; resourceVersion: string }> {
    let more: string | undefined;
    do {
      const page: ListAnswer<T> = await this.#json<ListAnswer<T>>({
        method: 'GET',
        verb: 'list',
        path,
        // Of the further pages the token says what they are of.
        query: {
          limit: PAGE_ITEMS,
          ...query,
          ...(more !== undefined && { continue: more, resourceVersion: undefined }),
        },
      });
      yield { items: page.items ?? [], resourceVersion: page.metadata?.resourceVersion ?? '' };
      more = page.metadata?.continue || undefined;
    } while (more !== undefined);
  }

  create<T>(path: string, body: object, query?: Query): Promise<T> {
    return this.#json<T>({ method: 'POST', verb: 'create', path, query, body });
  }

  /** Server-side apply: the fields of `body` become ours, whoever had them (KEP-555). */
  apply<T>(path: string, body: object, fieldManager: string): Promise<T> {
    const query = { fieldManager, force: true };
    return this.#json<T>({ method: 'PATCH', verb: 'apply', path, query, body, contentType: APPLY_CONTENT_TYPE });
  }

  patch<T>(path: string, body: object, contentType: keyof typeof CONTENT_TYPES, query?: Query): Promise<T> {
    return this.#json<T>({
      method: 'PATCH',
      verb: 'patch',
      path,
      query,
      body,
      contentType: CONTENT_TYPES[contentType],
    });
  }

  replace<T>(path: string, body: object, query?: Query): Promise<T> {
    return this.#json<T>({ method: 'PUT', verb: 'update', path, query, body });
  }

  /** With DeleteOptions as the body. */
  async delete(path: string, body?: object): Promise<void> {
    await this.#json<unknown>({ method: 'DELETE', verb: 'delete', path, body });
  }

  /** What happens from `resourceVersion` of the query on, with bookmarks; ends when the server ends it, or on abort. `onOpen` is called once the server has said yes. */
  async *watch<T extends KubeObject = KubeObject>(
    path: string,
    query: Query,
    signal: AbortSignal,
    onOpen?: () => void,
  ): AsyncGenerator<WatchEvent<T>> {
    const timeoutSeconds = Math.round(WATCH_SECONDS * (1 + Math.random()));
    const call: Asked = {
      method: 'GET',
      verb: 'watch',
      path,
      query: { timeoutSeconds, ...query, watch: true, allowWatchBookmarks: true },
    };
    try {
      const answer = await this.#request(call, { signal, bodyTimeout: WATCH_SILENCE_MS });
      onOpen?.();
      for await (const line of linesOf(answer.body)) {
        const event = JSON.parse(line) as WatchEvent<T> | { type: 'ERROR'; object: KubeStatus };
        if (event.type === 'ERROR') throw KubeError.refused(call, event.object.code ?? 500, event.object);
        yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      throw this.#failed(call, error);
    }
  }

  /** What is under way is broken off. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #json<T>(asked: Asked): Promise<T> {
    try {
      const answer = await this.#request(asked);
      const text = await answer.body.text();
      return (text === '' ? undefined : JSON.parse(text)) as T;
    } catch (error) {
      throw this.#failed(asked, error);
    }
  }

  #failed(call: KubeCall, error: unknown): KubeError {
    const failure = asKubeError(call, error);
    this.#onError(failure);
    return failure;
  }

  async #request(
    { body, contentType = 'application/json', method, path, query, verb }: Asked,
    options: { signal?: AbortSignal; bodyTimeout?: number } = {},
  ): Promise<Dispatcher.ResponseData> {
    const answer = await request(`${this.#base}${path}${queryText(query)}`, {
      dispatcher: this.#dispatcher,
      method,
      headers: {
        accept: 'application/json',
        ...(body !== undefined && { 'content-type': contentType }),
        ...(await this.#target.headers()),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...options,
    });
    if (answer.statusCode >= 300) throw await refusalOf({ verb, path }, answer);
    return answer;
  }
}

interface ListAnswer<T> {
  items?: T[];
  metadata?: { resourceVersion?: string; continue?: string };
}

function queryText(query: Query = {}): string {
  const given = Object.entries(query).filter((entry): entry is [string, string | number | boolean] => {
    return entry[1] !== undefined;
  });
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

async function refusalOf(call: KubeCall, answer: Dispatcher.ResponseData): Promise<KubeError> {
  let status: KubeStatus = {};
  try {
    const text = await answer.body.text();
    const said = JSON.parse(text) as KubeStatus;
    // Of a pod that the API server asked for us, such as a probe's: what it says is all that there is.
    if (said.kind !== 'Status') status = text.length <= FOREIGN_CHARS ? { message: text } : {};
    else status = said;
  } catch {
    // A page of a proxy: the status has to do.
  }
  const seconds = Number(answer.headers['retry-after']);
  return KubeError.refused(call, answer.statusCode, status, seconds > 0 ? seconds : undefined);
}

function asKubeError(call: KubeCall, error: unknown): KubeError {
  if (error instanceof KubeError) return error;
  // A message of V8 about JSON repeats the text.
  if (error instanceof SyntaxError) return KubeError.unreachable(call, 'the answer is no JSON');
  return KubeError.unreachable(call, errorCode(error) ?? (error as Error).name, error);
}
