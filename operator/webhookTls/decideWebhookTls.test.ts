import { expect, test } from 'vitest';
import { decideWebhookTls, SEEN_MS, UNSERVED_LIMIT_MS, type WebhookTlsState } from './decideWebhookTls.ts';
import { certificatesOf, issuePair, type Pair, readPair } from './pair.ts';

const DAY_MS = 24 * 3_600_000;
const NAME = 'sidekey-webhook.sidekey-system.svc';
const START_MS = Date.UTC(2026, 0, 1);
const issue = (nowMs: number) => issuePair({ dnsNames: [NAME] }, nowMs);

const settled = (pair: Pair): WebhookTlsState => ({
  current: pair,
  bundle: [pair.caPem],
  registered: [pair.caPem],
  registeredForMs: DAY_MS,
  servedForMs: DAY_MS,
  unservedForMs: DAY_MS,
});

/** A cluster in which the API server trusts and the replicas serve what they are told to, but only after a while. */
class World {
  nowMs = START_MS;
  secret: { current?: Pair | undefined; next?: Pair | undefined; bundle: string[] } = { bundle: [] };
  registered: string[] = [];
  steps: string[] = [];
  /** What is trusted by API servers that have not seen the latest, and served by replicas that have not. */
  #trusted: { fromMs: number; cas: string[] }[] = [{ fromMs: 0, cas: [] }];
  #served: { fromMs: number; pair: Pair | undefined }[] = [];
  #registeredMs = START_MS;
  #servedMs: number | undefined;
  readonly #lagMs: number;

  constructor(lagMs: number) {
    this.#lagMs = lagMs;
  }

  /** Whether each API server trusts what each replica serves, those that are late included. */
  get sound(): boolean {
    const late = <T extends { fromMs: number }>(history: T[]) =>
      history.filter((_, i) => i === history.length - 1 || history[i + 1]!.fromMs > this.nowMs - this.#lagMs);
    const pairs = late(this.#served).flatMap(({ pair }) => (pair === undefined ? [] : [pair]));
    return late(this.#trusted).every(({ cas }) => pairs.every((pair) => cas.includes(pair.caPem)));
  }

  step(): string {
    const readable = (pair: Pair | undefined) =>
      pair && readPair({ ...pair, bundle: this.secret.bundle }, [NAME], this.nowMs);
    const current = readable(this.secret.current);
    if (current === undefined) this.#servedMs = undefined;
    const action = decideWebhookTls(
      {
        current,
        next: readable(this.secret.next),
        bundle: certificatesOf(this.secret.bundle.join(''), this.nowMs),
        registered: certificatesOf(this.registered.join(''), this.nowMs),
        registeredForMs: this.nowMs - this.#registeredMs,
        ...(this.#servedMs !== undefined &&
          this.nowMs >= this.#servedMs + this.#lagMs && { servedForMs: this.nowMs - this.#servedMs - this.#lagMs }),
        unservedForMs: 0,
      },
      this.nowMs,
    );
    switch (action.step) {
      case 'start':
      case 'prepare': {
        const pair = issue(this.nowMs);
        if (action.step === 'start') this.secret = { current: pair, bundle: [pair.caPem] };
        else this.secret = { current, next: pair, bundle: [...action.bundle, pair.caPem] };
        if (action.step === 'start') this.#serve(pair);
        break;
      }
      case 'register':
        this.registered = [...action.bundle];
        this.#registeredMs = this.nowMs;
        this.#trusted.push({ fromMs: this.nowMs, cas: this.registered });
        break;
      case 'switch':
        this.secret = { current: action.pair, bundle: this.secret.bundle };
        this.#serve(action.pair);
        break;
      case 'drop':
        this.secret = { ...this.secret, bundle: [...action.bundle] };
        break;
    }
    if (action.step !== 'wait') this.steps.push(action.step);
    return action.step;
  }

  /** Second by second while something is to be done, then in hours. */
  run(forMs: number, check: (world: World) => void = () => {}): void {
    const untilMs = this.nowMs + forMs;
    let idle = 0;
    while (this.nowMs < untilMs) {
      idle = this.step() === 'wait' ? idle + 1 : 0;
      check(this);
      this.nowMs += idle > 120 ? 3_600_000 : 1_000;
    }
  }

  #serve(pair: Pair): void {
    this.#served.push({ fromMs: this.nowMs, pair });
    this.#servedMs = this.nowMs;
  }
}

const LAG_MS = 10_000;
const ROTATION = ['prepare', 'register', 'switch', 'drop', 'register'];

function settledWorld(): World {
  const world = new World(LAG_MS);
  world.run(5 * 60_000);
  expect(world.steps).toEqual(['start', 'register']);
  world.steps = [];
  return world;
}

test('over 90 days the API server trusts at each moment what each replica serves', () => {
  const world = settledWorld();
  world.run(90 * DAY_MS, ({ sound }) => expect(sound).toBe(true));
  expect(world.steps).toEqual([...ROTATION, ...ROTATION, ...ROTATION, ...ROTATION]);
  expect(world.registered).toEqual([world.secret.current!.caPem]);
}, 20_000);

test.for([
  ['deleted', () => ({ bundle: [] })],
  ['damaged', ({ current }) => ({ current: { ...current!, keyPem: 'x' }, bundle: ['y'] })],
  ['with the key of another', ({ bundle, current }) => ({ current: { ...current!, keyPem: issue(0).keyPem }, bundle })],
] as [string, (secret: World['secret']) => World['secret']][])(
  'a Secret that is %s comes back without a moment at which what is served is not trusted',
  ([, change]) => {
    const world = settledWorld();
    world.secret = change(world.secret);
    world.run(DAY_MS, ({ sound }) => expect(sound).toBe(true));
    expect(world.steps).toEqual(ROTATION);
  },
);

test('a caBundle that somebody has emptied is written again', () => {
  const world = settledWorld();
  world.registered = [];
  world.run(60_000);
  expect(world.steps).toEqual(['register']);
});

test('nothing is registered before a replica serves it, unless that cannot be seen for two minutes', () => {
  const pair = issue(START_MS);
  const state = { ...settled(pair), registered: [], servedForMs: undefined, unservedForMs: 0 };
  expect(decideWebhookTls(state, START_MS)).toEqual({ step: 'wait', until: 'served' });
  expect(decideWebhookTls({ ...state, servedForMs: 0 }, START_MS)).toMatchObject({ step: 'register' });
  expect(decideWebhookTls({ ...state, unservedForMs: UNSERVED_LIMIT_MS }, START_MS)).toMatchObject({
    step: 'register',
  });
});

test('the old CA stays as long as one replica does not serve under the new one', () => {
  const [old, pair] = [issue(START_MS), issue(START_MS)];
  const both = [old.caPem, pair.caPem];
  const state = { ...settled(pair), bundle: both, registered: both };
  expect(decideWebhookTls({ ...state, servedForMs: undefined }, START_MS)).toEqual({ step: 'wait', until: 'served' });
  expect(decideWebhookTls({ ...state, servedForMs: SEEN_MS - 1 }, START_MS)).toMatchObject({ step: 'wait' });
  expect(decideWebhookTls(state, START_MS)).toEqual({ step: 'drop', bundle: [pair.caPem] });
});

test('five minutes between the clocks of who issues and who reads change nothing', () => {
  const pair = issue(START_MS);
  for (const skewMs of [-5 * 60_000, 5 * 60_000]) {
    const read = readPair({ ...pair, bundle: [pair.caPem] }, [NAME], START_MS + skewMs);
    expect(read).toEqual(pair);
    expect(decideWebhookTls(settled(read!), START_MS + skewMs)).toEqual({ step: 'wait', until: 'renewal' });
  }
});

test('a certificate for another name, out of time or under another CA is none', () => {
  const pair = issue(START_MS);
  const bundle = [pair.caPem];
  expect(readPair({ ...pair, bundle }, ['other.svc'], START_MS)).toBeUndefined();
  expect(readPair({ ...pair, bundle }, [NAME], START_MS + 31 * DAY_MS)).toBeUndefined();
  expect(readPair({ ...pair, bundle }, [NAME], START_MS - DAY_MS)).toBeUndefined();
  expect(readPair({ ...pair, bundle: [issue(START_MS).caPem] }, [NAME], START_MS)).toBeUndefined();
});
