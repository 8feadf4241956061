import type { LookupAddress } from 'node:dns';
import { expect, test } from 'vitest';
import type { Refusal } from '../errors.ts';
import { type Addresses, Resolver } from './resolve.ts';

function setUp() {
  const time = { ms: 0 };
  const asked: string[] = [];
  const answers: ((error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void)[] = [];
  const clock = { nowMs: () => time.ms, monotonicMs: () => time.ms };
  const resolver = new Resolver(clock, (host, callback) => {
    asked.push(host);
    answers.push(callback);
  });
  const results: (Addresses | Refusal)[] = [];
  return { time, asked, answers, results, ask: (host: string) => resolver.resolve(host, (r) => results.push(r)) };
}

const ONE = [{ address: '192.0.2.1', family: 4 }];

test('askers for one name share one question, and its answer for 30 s', () => {
  const { ask, asked, answers, results, time } = setUp();
  for (let i = 0; i < 100; i++) ask('api.example.com');
  expect(asked).toEqual(['api.example.com']);
  answers[0]!(null, ONE);
  expect(results).toHaveLength(100);
  time.ms = 29_999;
  ask('api.example.com');
  expect(results.at(-1)).toEqual(ONE);
  expect(asked).toHaveLength(1);
  time.ms = 30_000;
  ask('api.example.com');
  expect(asked).toHaveLength(2);
});

test('a name that does not exist is asked for again after 2 s', () => {
  const { ask, asked, answers, results, time } = setUp();
  ask('nowhere.example');
  answers[0]!(Object.assign(new Error('not found'), { code: 'ENOTFOUND' }), []);
  time.ms = 1_999;
  ask('nowhere.example');
  expect(results.map((result) => 'code' in result && result.code)).toEqual([
    'UpstreamUnresolved',
    'UpstreamUnresolved',
  ]);
  expect(asked).toHaveLength(1);
  time.ms = 2_000;
  ask('nowhere.example');
  expect(asked).toHaveLength(2);
});

test('localhost and the names below it never go to DNS (RFC 6761 section 6.3)', () => {
  const { ask, asked, results } = setUp();
  ask('localhost');
  ask('api.localhost');
  expect(asked).toEqual([]);
  const loopback = [
    { address: '127.0.0.1', family: 4 },
    { address: '::1', family: 6 },
  ];
  expect(results).toEqual([loopback, loopback]);
});

test('literals are not asked for', () => {
  const { ask, asked, results } = setUp();
  ask('192.0.2.9');
  ask('2001:db8::9');
  expect(asked).toEqual([]);
  expect(results).toEqual([[{ address: '192.0.2.9', family: 4 }], [{ address: '2001:db8::9', family: 6 }]]);
});

test('rule 12: questions under way are bounded', () => {
  const { ask, asked, results } = setUp();
  for (let i = 0; i < 300; i++) ask(`host-${i}.example`);
  expect(asked).toHaveLength(256);
  expect(results).toHaveLength(44);
  expect(results[0]).toMatchObject({ code: 'Overloaded' });
});

test('rule 12: the cache is bounded, the oldest answer goes first', () => {
  const { ask, asked, answers } = setUp();
  for (let i = 0; i < 1_100; i++) {
    ask(`host-${i}.example`);
    answers[i]!(null, ONE);
  }
  ask('host-1099.example');
  expect(asked).toHaveLength(1_100);
  ask('host-0.example');
  expect(asked).toHaveLength(1_101);
});
