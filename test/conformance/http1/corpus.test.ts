import { describe, expect, test } from 'vitest';
import { REFUSED, TAKEN } from './corpus.ts';
import { describeRequests, readRequests, rebuild } from './readRequests.ts';
import { readResponse } from './readResponse.ts';
import { REFUSED_RESPONSES, TAKEN_RESPONSES } from './responseCorpus.ts';
import { reusing, splits } from './splits.ts';

const bytes = (message: string): Buffer => Buffer.from(message, 'latin1');

test('each message of the corpus has a name of its own, and there are enough of them', () => {
  const names = [...REFUSED, ...TAKEN].map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBeGreaterThanOrEqual(80);
});

describe('a request that is refused', () => {
  test.each(REFUSED)('$name', ({ message, code = 'MalformedRequest' }) => {
    expect(readRequests([bytes(message)])).toEqual({ requests: [], end: code });
  });
});

describe('a request that is taken and rebuilt', () => {
  test.each(TAKEN)('$name', ({ message, rebuilt = message }) => {
    const { requests, end } = readRequests([bytes(message)]);
    expect(end).toMatch(/idle|over/);
    expect(Buffer.concat(requests.map(rebuild)).toString('latin1')).toBe(rebuilt);
  });

  test.each(TAKEN)('$name: what is rebuilt is taken, and rebuilt to the same', ({ message, rebuilt = message }) => {
    const { requests, end } = readRequests([bytes(rebuilt)]);
    expect(end).toMatch(/idle|over/);
    expect(Buffer.concat(requests.map(rebuild)).toString('latin1')).toBe(rebuilt);
  });
});

describe('a request means the same however its bytes are cut', () => {
  test.each([...REFUSED, ...TAKEN])('$name', ({ message }) => {
    const whole = JSON.stringify(describeRequests(readRequests([bytes(message)])));
    for (const chunks of splits(message)) {
      expect(JSON.stringify(describeRequests(readRequests(reusing(chunks)))), `cut at ${chunks[0]!.length}`).toBe(
        whole,
      );
    }
  });
});

describe('a response', () => {
  test.each(REFUSED_RESPONSES)('is refused: $name', ({ message, method = 'GET' }) => {
    expect(readResponse([bytes(message)], method)).toBeUndefined();
  });

  test.each(TAKEN_RESPONSES)('is taken: $name', ({ message, method = 'GET', status, body, closes, left, interim }) => {
    expect(readResponse([bytes(message)], method)).toMatchObject({
      head: { status, keepAlive: closes !== true },
      body,
      left: left ?? '',
      interim: interim ?? [],
    });
  });

  test.each([...REFUSED_RESPONSES, ...TAKEN_RESPONSES])('means the same however it is cut: $name', (response) => {
    const { message, method = 'GET' } = response;
    const whole = readResponse([bytes(message)], method);
    for (const chunks of splits(message)) {
      expect(readResponse(reusing(chunks), method), `cut at ${chunks[0]!.length}`).toEqual(whole);
    }
  });
});
