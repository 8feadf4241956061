import { expect, test } from 'vitest';
import type { IdentityRow, Snapshot } from '../persist/repository.ts';
import { ManualClock } from '../testing/clock.ts';
import { session } from '../testing/records.ts';
import { Identities } from './identities.ts';

const EMPTY: Snapshot = {
  credentials: [],
  materials: [],
  integrations: [],
  sessions: [],
  identities: [],
  revocations: [],
};

function identities(clock: ManualClock, snapshot: Partial<Snapshot> = {}): Identities {
  return new Identities({ clock, trustDomain: 'sidekey.local', seconds: 3600, snapshot: { ...EMPTY, ...snapshot } });
}

function row(clock: ManualClock, changes: Partial<IdentityRow> = {}): IdentityRow {
  const expiresAtMs = clock.wallMs + 3_600_000;
  return { serial: '01', fingerprint: 'F', kind: 'session', sessionId: 'session-1', expiresAtMs, ...changes };
}

test('knows who stands behind a certificate, after a restart too', () => {
  const clock = new ManualClock();
  const known = identities(clock, { sessions: [session()], identities: [row(clock)] });
  expect(known.find('F')).toMatchObject({
    session: session(),
    spiffeId: 'spiffe://sidekey.local/ns/default/sa/default',
  });
  expect(known.find('other')).toBeUndefined();
});

test('a certificate of a session that has ended opens nothing', () => {
  const clock = new ManualClock();
  const known = identities(clock, { sessions: [session()], identities: [row(clock)] });
  const identity = known.find('F')!;
  known.sessionEnded(session());
  expect(known.find('F')).toBeUndefined();
  expect(known.alive(identity)).toBe(false);
  known.add(row(clock));
  expect(known.find('F')).toBeUndefined();
});

test('an identity ends an hour after it was issued, whatever the wall clock does meanwhile', () => {
  const clock = new ManualClock();
  const known = identities(clock);
  known.sessionChanged(session());
  known.add(row(clock));
  clock.wallMs += 100 * 86_400_000;
  clock.advance(3599);
  expect(known.find('F')).toBeDefined();
  clock.wallMs -= 200 * 86_400_000;
  clock.advance(1);
  expect(known.find('F')).toBeUndefined();
});

test('a wall clock that was set back while the store was down does not lengthen a life', () => {
  const clock = new ManualClock();
  const issued = row(clock);
  clock.wallMs -= 30 * 86_400_000;
  const known = identities(clock, { sessions: [session()], identities: [issued] });
  clock.advance(3600);
  expect(known.find('F')).toBeUndefined();
});

test('a session without a living certificate is over', () => {
  const clock = new ManualClock();
  const known = identities(clock, {
    sessions: [session(), session({ id: 'session-2' })],
    identities: [
      row(clock),
      row(clock, { fingerprint: 'G', sessionId: 'session-2', expiresAtMs: clock.wallMs + 1000 }),
    ],
  });
  expect(known.expire()).toEqual([]);
  clock.advance(2);
  expect(known.expire()).toEqual([session({ id: 'session-2' })]);
});

test('the operator has an identity without a session', () => {
  const clock = new ManualClock();
  const known = identities(clock);
  known.add({ serial: '02', fingerprint: 'O', kind: 'operator', expiresAtMs: clock.wallMs + 1000 });
  expect(known.find('O')).toMatchObject({ kind: 'operator', spiffeId: 'spiffe://sidekey.local/sidekey/operator' });
});
