import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestCore } from '../testing/core.ts';
import { JoinTokens } from './joinTokens.ts';

const invalid = expect.objectContaining({ code: 'JoinTokenInvalid' });

let core: TestCore;
let tokens: JoinTokens;
beforeEach(async () => {
  core = await TestCore.open();
  tokens = new JoinTokens({ clock: core.clock, seconds: 60, limit: 2 });
});
afterEach(() => core.remove());

const issue = () => core.store.repository.transaction((tx) => tokens.issue(tx, { kind: 'operator' }));
const redeem = (token: string) => core.store.repository.transaction((tx) => tokens.redeem(tx, token));

test('a token is good once', async () => {
  const token = await issue();
  expect(Buffer.from(token, 'base64url').length).toBe(32);
  expect(await redeem(token)).toEqual({ kind: 'operator' });
  await expect(redeem(token)).rejects.toEqual(invalid);
});

test('a token ends after its time, whatever the wall clock says', async () => {
  const late = await issue();
  const inTime = await issue();
  core.clock.wallMs += 86_400_000;
  core.clock.advance(59);
  await redeem(inTime);
  core.clock.wallMs -= 2 * 86_400_000;
  core.clock.advance(1);
  await expect(redeem(late)).rejects.toEqual(invalid);
});

test('tokens that nobody uses are bounded', async () => {
  await issue();
  await issue();
  await expect(issue()).rejects.toEqual(expect.objectContaining({ code: 'Overloaded' }));
  core.clock.advance(60);
  await issue();
});

test('a token outlives the process that issued it, and is good elsewhere, but no longer than its time', async () => {
  const [first, second] = [await issue(), await issue()];
  await core.reopen();
  tokens = new JoinTokens({ clock: core.clock, seconds: 60, limit: 2 });
  core.clock.advance(59);
  expect(await redeem(first)).toEqual({ kind: 'operator' });
  core.clock.advance(1);
  await expect(redeem(second)).rejects.toEqual(invalid);
});

test('a join that fails leaves the token as it was', async () => {
  const token = await issue();
  const failing = core.store.repository.transaction(async (tx) => {
    await tokens.redeem(tx, token);
    throw new Error('the disk is full');
  });
  await expect(failing).rejects.toThrow('the disk is full');
  expect(await redeem(token)).toEqual({ kind: 'operator' });
});
