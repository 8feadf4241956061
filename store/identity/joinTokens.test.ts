import { expect, test } from 'vitest';
import { ManualClock } from '../testing/clock.ts';
import { JoinTokens } from './joinTokens.ts';

const invalid = expect.objectContaining({ code: 'JoinTokenInvalid' });

test('a token is good once', () => {
  const tokens = new JoinTokens({ clock: new ManualClock(), seconds: 60, limit: 10 });
  const token = tokens.issue({ kind: 'operator' });
  expect(Buffer.from(token, 'base64url').length).toBe(32);
  expect(tokens.redeem(token)).toEqual({ kind: 'operator' });
  expect(() => tokens.redeem(token)).toThrow(invalid);
});

test('a token ends after its time, whatever the wall clock says', () => {
  const clock = new ManualClock();
  const tokens = new JoinTokens({ clock, seconds: 60, limit: 10 });
  const late = tokens.issue({ kind: 'operator' });
  const inTime = tokens.issue({ kind: 'operator' });
  clock.wallMs += 86_400_000;
  clock.advance(59);
  tokens.redeem(inTime);
  clock.wallMs -= 2 * 86_400_000;
  clock.advance(1);
  expect(() => tokens.redeem(late)).toThrow(invalid);
});

test('tokens that nobody uses are bounded', () => {
  const clock = new ManualClock();
  const tokens = new JoinTokens({ clock, seconds: 60, limit: 2 });
  tokens.issue({ kind: 'operator' });
  tokens.issue({ kind: 'operator' });
  expect(() => tokens.issue({ kind: 'operator' })).toThrow(expect.objectContaining({ code: 'Overloaded' }));
  clock.advance(60);
  tokens.issue({ kind: 'operator' });
});
