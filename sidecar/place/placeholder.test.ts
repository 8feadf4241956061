import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Fields } from '../http1/fields.ts';
import { bodyEncodingOf } from './placeholderBody.ts';
import { Plan } from './plan.ts';
import { leaseOf, PLACEHOLDER, placedOf, refusalOf, requestOf, type Sent, seen } from './testkit.ts';

const KEY = 'sk-live-0123456789abcdef';
const ODD = 'a"b/c d\\&=é';

type Part = 'Header' | 'Query' | 'Path' | 'Body';
const everywhere: Part[] = ['Header', 'Query', 'Path', 'Body'];

function sent(fields: readonly (readonly [string, string])[], value = KEY, parts: Part[] = ['Header']) {
  return seen([{ placeholder: { in: parts } }], { value }, { fields });
}

function basic(pair: string): string {
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

/** The body as it goes upstream, given in pieces. */
function body(pieces: readonly string[], contentType: string | undefined, value = KEY): string {
  const plan = Plan.compile({ inject: [{ placeholder: { in: ['Body'] } }], placeholder: PLACEHOLDER });
  const placed = placedOf(plan.place(leaseOf({ value }), { path: '/', query: '', fields: new Fields(), contentType }));
  const out: Buffer[] = [];
  const sink = (piece: Buffer) => {
    out.push(Buffer.from(piece));
    // The receiver overwrites what it has written: no later occurrence may suffer.
    piece.fill(0);
  };
  for (const piece of pieces) placed.body!.push(Buffer.from(piece), sink);
  placed.body!.flush(sink);
  return Buffer.concat(out).toString();
}

describe('a placeholder in headers', () => {
  test('is replaced in any field, as often as it occurs, and the lines are the request’s own', () => {
    const fields = [
      ['Accept', '*/*'],
      ['X-Api-Key', PLACEHOLDER],
      ['Authorization', `Token ${PLACEHOLDER}, again=${PLACEHOLDER}`],
    ] as const;
    expect(sent(fields)).toEqual({
      target: undefined,
      lines: `X-Api-Key: ${KEY}\r\nAuthorization: Token ${KEY}, again=${KEY}\r\n`,
      omit: ['x-api-key', 'authorization'],
    });
    const plan = Plan.compile({ inject: [{ placeholder: { in: ['Header'] } }], placeholder: PLACEHOLDER });
    const lease = leaseOf({ value: KEY });
    const first = placedOf(plan.place(lease, requestOf({ fields })));
    expect(first.linesOwned).toBe(true);
    first.lines!.fill(0);
    expect(placedOf(plan.place(lease, requestOf({ fields }))).lines?.toString()).toContain(KEY);
  });

  test('is replaced within Basic, as user name and as password', () => {
    for (const pair of [
      `x-access-token:${PLACEHOLDER}`,
      `${PLACEHOLDER}:`,
      `${PLACEHOLDER}:${PLACEHOLDER}`,
      PLACEHOLDER,
    ]) {
      const { lines, omit } = sent([['Authorization', basic(pair)]]);
      expect(lines).toBe(`Authorization: ${basic(pair.replaceAll(PLACEHOLDER, KEY))}\r\n`);
      expect(omit).toEqual(['authorization']);
    }
    const lower = basic(`me:${PLACEHOLDER}`).replace('Basic', 'basic').replace(/=+$/, '');
    expect(sent([['authorization', lower]]).lines).toBe(
      `authorization: ${basic(`me:${KEY}`).replace('Basic', 'basic')}\r\n`,
    );
  });

  test('fields of one name move together and keep their order', () => {
    const { lines, omit } = sent([
      ['X-Key', 'first'],
      ['x-key', PLACEHOLDER],
      ['X-KEY', 'last'],
    ]);
    expect(lines).toBe(`X-Key: first\r\nx-key: ${KEY}\r\nX-KEY: last\r\n`);
    expect(omit).toEqual(['x-key']);
  });

  test('is left alone where the Integration does not look, and without it nothing changes', () => {
    const untouched = { target: undefined, lines: '', omit: [] };
    expect(sent([['X-Api-Key', PLACEHOLDER]], KEY, ['Query', 'Path', 'Body'])).toEqual(untouched);
    expect(sent([['Authorization', basic(`me:${PLACEHOLDER.slice(1)}`)]])).toEqual(untouched);
    expect(sent([['Authorization', 'Bearer other']])).toEqual(untouched);
  });

  test('does not bring back a field that another placement replaces', () => {
    const inject = [{ bearer: { field: 'token' } }, { placeholder: { in: ['Header' as const] } }];
    const fields = [
      ['Authorization', `Bearer ${PLACEHOLDER}`],
      ['X-Api-Key', PLACEHOLDER],
    ] as const;
    expect(seen(inject, { value: KEY, token: 'the-token' }, { fields })).toEqual({
      target: undefined,
      lines: `Authorization: Bearer the-token\r\nX-Api-Key: ${KEY}\r\n`,
      omit: ['authorization', 'x-api-key'],
    });
  });

  test('material with line breaks is refused there, but may stand in a body', () => {
    const inject = [{ placeholder: { in: everywhere } }];
    const fields = [['X-Api-Key', PLACEHOLDER]] as const;
    expect(refusalOf(inject, { value: 'a\r\nX-Admin: 1' }, { fields })).toMatch(/^CredentialUnavailable/);
    const hidden = [['Authorization', basic(`me:${PLACEHOLDER}`)]] as const;
    expect(refusalOf(inject, { value: 'a\nb' }, { fields: hidden })).toMatch(/^CredentialUnavailable/);
    expect(refusalOf(inject, { value: 'a\nb' })).toBeUndefined();
  });
});

describe('a placeholder in the target', () => {
  const target = (options: Sent, value = KEY, parts: Part[] = everywhere) =>
    seen([{ placeholder: { in: parts } }], { value }, options).target;

  test('is replaced in path and query, percent-encoded', () => {
    expect(target({ path: `/bot${PLACEHOLDER}/send`, query: '?a=1' })).toBe(`/bot${KEY}/send?a=1`);
    expect(target({ path: '/x', query: `?key=${PLACEHOLDER}&also=${PLACEHOLDER}` })).toBe(`/x?key=${KEY}&also=${KEY}`);
    expect(target({ path: `/${PLACEHOLDER}`, query: `?k=${PLACEHOLDER}` }, ODD)).toBe(
      `/${encodeURIComponent(ODD)}?k=${encodeURIComponent(ODD)}`,
    );
  });

  test('cannot change which path or parameter is meant, whatever the material is', () => {
    expect(target({ path: `/v1/${PLACEHOLDER}` }, '../admin?x#y')).toBe('/v1/..%2Fadmin%3Fx%23y');
  });

  test('is left alone in the part where the Integration does not look', () => {
    const options = { path: `/${PLACEHOLDER}`, query: `?k=${PLACEHOLDER}` };
    expect(target(options, KEY, ['Path'])).toBe(`/${KEY}?k=${PLACEHOLDER}`);
    expect(target(options, KEY, ['Query'])).toBe(`/${PLACEHOLDER}?k=${KEY}`);
    expect(target(options, KEY, ['Header'])).toBeUndefined();
  });

  test('goes together with a placed parameter, which still replaces the agent’s own', () => {
    const inject = [{ placeholder: { in: everywhere } }, { query: { name: 'key', field: 'other' } }];
    const options = { path: '/x', query: `?key=${PLACEHOLDER}&b=${PLACEHOLDER}` };
    expect(seen(inject, { value: KEY, other: 'o 1' }, options).target).toBe(`/x?b=${KEY}&key=o%201`);
  });
});

describe('a placeholder in a body', () => {
  const text = `{"a":"${PLACEHOLDER}","b":"sk-sidekey${PLACEHOLDER}${PLACEHOLDER}"}`;

  test('is replaced wherever the body is split', () => {
    const expected = text.replaceAll(PLACEHOLDER, KEY);
    for (let at = 0; at <= text.length; at++) {
      expect(body([text.slice(0, at), text.slice(at)], 'application/json')).toBe(expected);
    }
    expect(body([...text], 'application/json')).toBe(expected);
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 6 }), (cuts) => {
        const borders = [0, ...cuts.sort((a, b) => a - b), text.length];
        const pieces = borders.slice(1).map((end, i) => text.slice(borders[i], end));
        expect(body(pieces, 'application/json')).toBe(expected);
      }),
    );
  });

  test('is escaped as the content type wants it', () => {
    const of = (contentType: string | undefined) => body([`<${PLACEHOLDER}>`], contentType, ODD);
    const json = `<${JSON.stringify(ODD).slice(1, -1)}>`;
    expect(of('application/json')).toBe(json);
    expect(of('application/vnd.api+json; charset=utf-8')).toBe(json);
    expect(of('application/x-ndjson')).toBe(json);
    expect(of('application/x-www-form-urlencoded')).toBe(`<${encodeURIComponent(ODD)}>`);
    for (const other of ['text/plain', 'multipart/form-data; boundary=x', 'application/xml', undefined]) {
      expect(of(other)).toBe(`<${ODD}>`);
    }
    expect(new URLSearchParams(body([`k=${PLACEHOLDER}&x=1`], 'application/x-www-form-urlencoded', ODD)).get('k')).toBe(
      ODD,
    );
    expect(bodyEncodingOf('Application/JSON;x')).toBe('json');
    expect(bodyEncodingOf('text/jsonish')).toBe('raw');
  });

  test('that is only begun comes out with the flush', () => {
    const begun = PLACEHOLDER.slice(0, -1);
    expect(body(['x', begun.slice(0, 5), begun.slice(5)], 'text/plain')).toBe(`x${begun}`);
  });

  test('holds back no more than the beginning of a placeholder', () => {
    const plan = Plan.compile({ inject: [{ placeholder: { in: ['Body'] } }], placeholder: PLACEHOLDER });
    const placed = placedOf(plan.place(leaseOf({ value: KEY }), requestOf({ contentType: 'text/plain' })));
    let bytes = 0;
    const piece = Buffer.from(`${'x'.repeat(60_000)}${PLACEHOLDER.slice(0, 10)}`);
    placed.body!.push(piece, (given) => {
      bytes += given.length;
    });
    expect(bytes).toBe(60_000);
  });

  test('that comes with Content-Encoding is refused, since nothing could be found in it', () => {
    const inject = [{ placeholder: { in: ['Body' as const] } }];
    const coded = (coding: string) => refusalOf(inject, { value: KEY }, { fields: [['content-encoding', coding]] });
    expect(coded('gzip')).toMatch(/^MalformedRequest: .*Content-Encoding/);
    expect(coded('identity, br')).toMatch(/^MalformedRequest/);
    expect(coded('identity')).toBeUndefined();
    expect(
      refusalOf([{ placeholder: { in: ['Header'] } }], { value: KEY }, { fields: [['content-encoding', 'gzip']] }),
    ).toBe(undefined);
  });
});
