import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { REFUSED, TAKEN } from './corpus.ts';
import { mutant, Random } from './mutator.ts';
import type { Reader, Reading } from './readers/reader.ts';
import { READERS } from './readers/readers.ts';
import { destination, readRequests, rebuild } from './readRequests.ts';

/** How we read a client's bytes, and what we send for them; undefined if we refuse them or part of them. */
function ourReading(message: string): { readings: Reading[]; sent: Buffer } | undefined {
  const { requests, end } = readRequests([Buffer.from(message, 'latin1')]);
  if (end !== 'idle' && end !== 'over') return undefined;
  const readings = requests
    .filter(({ head }) => head.method !== 'CONNECT')
    .map(({ head, body }) => ({ method: head.method, ...destination(head), bodyBytes: body.length }));
  return { readings, sent: Buffer.concat(requests.map(rebuild)) };
}

describe.each(Object.entries(READERS))('beside %s', (name, start) => {
  let reader: Reader;
  beforeAll(async () => {
    reader = await start();
  });
  afterAll(() => reader?.stop());

  test.each(TAKEN)('what we send is read as we meant it: $name', async ({ message, refusedBy = [] }) => {
    const ours = ourReading(message);
    expect(await reader.read(ours!.sent)).toEqual(refusedBy.includes(name) ? [] : ours!.readings);
  });

  test('what we send for messages that were changed at random is read as we meant it, as far as it is taken', async () => {
    const random = new Random(1);
    let same = 0;
    for (let sent = 0; sent < 500; ) {
      const { message, answers } = mutant(random);
      const ours = answers === undefined ? ourReading(message) : undefined;
      if (ours === undefined || ours.readings.length === 0) continue;
      const theirs = await reader.read(ours.sent);
      expect(theirs, JSON.stringify(message)).toEqual(ours.readings.slice(0, theirs.length));
      sent++;
      if (theirs.length === ours.readings.length) same++;
    }
    expect(same).toBeGreaterThan(400);
  });

  test('we refuse whatever it reads otherwise than we mean it, or send something that it reads as we do', async () => {
    let refused = 0;
    for (const { message } of [...REFUSED, ...TAKEN]) {
      const theirs = await reader.read(Buffer.from(message, 'latin1'));
      const ours = ourReading(message);
      if (ours === undefined) {
        if (theirs.length > 0) refused++;
      } else if (JSON.stringify(theirs) !== JSON.stringify(ours.readings)) {
        const then = await reader.read(ours.sent);
        // A reader that refuses what we send takes it for nothing else.
        expect([[], ours.readings], JSON.stringify(message)).toContainEqual(then);
      }
    }
    // Of no other use, but it tells that the reader was asked, and that the corpus holds what it is for.
    expect(refused).toBeGreaterThan(20);
  });
});
