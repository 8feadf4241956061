import { describe, expect, test, vi } from 'vitest';
import type { Placement } from '../../api/integration.ts';
import { Plan } from './plan.ts';
import { leaseOf, PLACEHOLDER, placedOf, refusalOf, requestOf, seen } from './testkit.ts';

const KEY = 'sk-live-0123456789abcdef';

describe('bearer', () => {
  test('writes the material into Authorization', () => {
    expect(seen([{ bearer: {} }], { value: KEY })).toEqual({
      target: undefined,
      lines: `Authorization: Bearer ${KEY}\r\n`,
      omit: ['authorization'],
    });
    expect(seen([{ bearer: { field: 'token' } }], { token: KEY }).lines).toBe(`Authorization: Bearer ${KEY}\r\n`);
  });

  test("the agent's own Authorization is replaced, never joined (rule 5)", () => {
    const fields = [
      ['authorization', `Bearer ${PLACEHOLDER}`],
      ['AUTHORIZATION', 'Bearer mine'],
      ['X-Api-Key', PLACEHOLDER],
    ] as const;
    const { lines, omit } = seen([{ bearer: {} }], { value: KEY }, { fields });
    expect(omit).toEqual(['authorization']);
    expect(lines).toBe(`Authorization: Bearer ${KEY}\r\n`);
  });

  test('lines are computed once per lease and belong to it', () => {
    const plan = Plan.compile({ inject: [{ bearer: {} }], placeholder: PLACEHOLDER });
    const lease = leaseOf({ value: KEY });
    const first = placedOf(plan.place(lease, requestOf()));
    expect(placedOf(plan.place(lease, requestOf({ path: '/other' })))).toBe(first);
    expect(first.linesOwned).toBe(false);
    expect(placedOf(plan.place(leaseOf({ value: 'another-key' }), requestOf())).lines?.toString()).toContain(
      'another-key',
    );
  });
});

describe('basic', () => {
  const decoded = (spec: NonNullable<Placement['basic']>, material: Record<string, string>) => {
    const { lines } = seen([{ basic: spec }], material);
    return Buffer.from(/^Authorization: Basic (\S+)\r\n$/.exec(lines)![1]!, 'base64').toString();
  };

  test('joins user name and password as the Integration says', () => {
    expect(decoded({}, { value: KEY })).toBe(`:${KEY}`);
    expect(decoded({ username: 'x-access-token' }, { value: KEY })).toBe(`x-access-token:${KEY}`);
    expect(decoded({ username: 'me', passwordField: 'token' }, { token: 'ü' })).toBe('me:ü');
    expect(decoded({ usernameField: 'sid', passwordField: 'token' }, { sid: 'AC1', token: KEY })).toBe(`AC1:${KEY}`);
  });

  test('a user name alone has an empty password, as Stripe wants its keys', () => {
    expect(decoded({ usernameField: 'value' }, { value: KEY })).toBe(`${KEY}:`);
  });

  test('a user name that holds a colon is refused, for the password would begin within it', () => {
    expect(refusalOf([{ basic: { usernameField: 'value' } }], { value: 'a:b' })).toMatch(
      /^CredentialUnavailable: .*colon/,
    );
  });
});

describe('header', () => {
  test('the format says where the material stands', () => {
    const line = (
      spec: NonNullable<Placement['header']>,
      material = { value: KEY, id: 'app-7' } as Record<string, string>,
    ) => seen([{ header: spec }], material).lines;
    expect(line({ name: 'X-Api-Key' })).toBe(`X-Api-Key: ${KEY}\r\n`);
    expect(line({ name: 'Authorization', format: 'Token {value}' })).toBe(`Authorization: Token ${KEY}\r\n`);
    expect(line({ name: 'X-Auth', format: 'id={id}, key="{value}"' })).toBe(`X-Auth: id=app-7, key="${KEY}"\r\n`);
    expect(line({ name: 'X-Auth', format: '{value}', field: 'id' })).toBe('X-Auth: app-7\r\n');
    expect(line({ name: 'X-Auth', format: '{"k": "{value}"}' })).toBe(`X-Auth: {"k": "${KEY}"}\r\n`);
  });

  test("the agent's own field of that name is dropped, whatever its case", () => {
    expect(seen([{ header: { name: 'X-Api-Key' } }], { value: KEY }).omit).toContain('x-api-key');
  });

  test('material with line breaks or other control bytes is refused, in every header (CR LF would begin another header)', () => {
    const placements: Placement[] = [
      { bearer: {} },
      { basic: {} },
      { header: { name: 'X-Api-Key' } },
      { header: { name: 'X-Api-Key', format: 'id {value}' } },
    ];
    for (const inject of placements) {
      for (const bad of [`${KEY}\r\nX-Admin: 1`, `${KEY}\n`, `\r${KEY}`, `a\0b`, 'a\x7fb', 'a\tb']) {
        const refusal = refusalOf([inject], { value: bad });
        expect(refusal).toMatch(/^CredentialUnavailable: Field value of the credential holds line breaks/);
        expect(refusal).not.toContain(KEY);
      }
    }
  });

  test("an agent's spelling with underscores, which CGI and WSGI read as the same field, is dropped", () => {
    expect(seen([{ header: { name: 'X-Api-Key' } }], { value: KEY }).omit.sort()).toEqual([
      'x-api-key',
      'x-api_key',
      'x_api-key',
      'x_api_key',
    ]);
    const many = `x${'-y'.repeat(20)}`;
    expect(seen([{ header: { name: many } }], { value: KEY }).omit).toEqual([many, many.replaceAll('-', '_')]);
  });

  test('bytes beyond ASCII go out as they are', () => {
    const lease = leaseOf({ value: Buffer.of(0xff, 0x80, 0xc3) });
    const plan = Plan.compile({ inject: [{ header: { name: 'X-Raw' } }], placeholder: PLACEHOLDER });
    expect(placedOf(plan.place(lease, requestOf())).lines).toEqual(Buffer.from('X-Raw: \xff\x80\xc3\r\n', 'latin1'));
  });
});

describe('query', () => {
  const target = (query: string, material = KEY, name = 'key') =>
    seen([{ query: { name } }], { value: material }, { path: '/maps', query }).target;

  test('the material is appended, percent-encoded', () => {
    expect(target('')).toBe(`/maps?key=${KEY}`);
    expect(target('?')).toBe(`/maps?key=${KEY}`);
    expect(target('?a=1&b')).toBe(`/maps?a=1&b&key=${KEY}`);
    expect(target('', 'a&b=c d/é#')).toBe('/maps?key=a%26b%3Dc%20d%2F%C3%A9%23');
  });

  test("the agent's own parameter of that name is dropped", () => {
    expect(target('?key=mine')).toBe(`/maps?key=${KEY}`);
    expect(target('?key')).toBe(`/maps?key=${KEY}`);
    expect(target('?a=1&key=mine&b=2&key=again')).toBe(`/maps?a=1&b=2&key=${KEY}`);
  });

  test("an agent's percent-encoded spelling of a placed query parameter is dropped", () => {
    for (const spelling of [
      'key[]',
      'key%5B0%5D',
      'key%00x',
      '%6Bey',
      '%6bey',
      'k%65y',
      '%6B%65%79',
      'KEY',
      '+key',
      '%20key',
      'key+',
    ]) {
      expect(target(`?${spelling}=mine&a=1`)).toBe(`/maps?a=1&key=${KEY}`);
    }
    expect(target('?a=1;key=mine')).toBe(`/maps?a=1&key=${KEY}`);
    expect(target('?api%5Fkey=mine', KEY, 'api_key')).toBe(`/maps?api_key=${KEY}`);
  });

  test('what only resembles the name stays as the agent wrote it', () => {
    for (const other of ['monkey=1', 'keys=1', 'a=key=b', '%256Bey=1', 'a=%6bey', 'k%zzey=1', 'a;b=1', '&&x=1']) {
      expect(target(`?${other}`)).toBe(`/maps?${other}&key=${KEY}`);
    }
  });

  test('OPTIONS * has no query and gets none', () => {
    expect(seen([{ query: { name: 'key' } }], { value: KEY }, { path: '*' }).target).toBeUndefined();
  });
});

describe('a plan', () => {
  test('composes placements of several kinds', () => {
    const inject: Placement[] = [
      { header: { name: 'DD-API-KEY', field: 'api' } },
      { header: { name: 'DD-APPLICATION-KEY', field: 'app' } },
      { query: { name: 'k', field: 'api' } },
    ];
    expect(seen(inject, { api: 'the-api-key', app: 'the-app-key' }, { path: '/v1', query: '?x=1' })).toEqual({
      target: '/v1?x=1&k=the-api-key',
      lines: 'DD-API-KEY: the-api-key\r\nDD-APPLICATION-KEY: the-app-key\r\n',
      omit: expect.arrayContaining(['dd-api-key', 'dd-application-key', 'dd_application_key']),
    });
  });

  test('never sends a field twice: of two placements in one field the first stands', () => {
    expect(seen([{ bearer: {} }, { basic: {} }], { value: KEY }).lines).toBe(`Authorization: Bearer ${KEY}\r\n`);
  });

  test('a field that is missing or empty is refused by its name', () => {
    for (const inject of [{ bearer: {} }, { basic: {} }, { query: { name: 'k' } }, { header: { name: 'X' } }]) {
      expect(refusalOf([inject], { other: KEY })).toBe(
        'CredentialUnavailable: The credential has no field value, or it is empty.',
      );
      expect(refusalOf([inject], { value: '' })).toMatch(/^CredentialUnavailable/);
    }
    expect(refusalOf([{ placeholder: { in: ['Header'], field: 'x' } }], { value: KEY })).toMatch(/no field x/);
  });
});

describe('needles', () => {
  const needles = (inject: Placement[], material: Record<string, string>) =>
    Plan.compile({ inject, placeholder: PLACEHOLDER })
      .needles(leaseOf(material))
      .map((needle) => needle.toString());

  test('are the material and its forms in URLs, JSON and base64, each once', () => {
    const found = needles([{ bearer: {} }], { value: KEY });
    expect(found).toHaveLength(4);
    expect(found[0]).toBe(KEY);
    for (const before of ['', 'a', 'ab']) {
      const echo = Buffer.from(`${before}Bearer ${KEY}, and more`).toString('base64');
      expect(found.some((needle) => echo.includes(needle))).toBe(true);
    }
    expect(needles([{ bearer: {} }, { query: { name: 'k' } }], { value: KEY })).toEqual(found);
    const odd = 'a"b/c d\\0123456';
    expect(needles([{ bearer: {} }], { value: odd })).toEqual(
      expect.arrayContaining([odd, encodeURIComponent(odd), JSON.stringify(odd).slice(1, -1)]),
    );
  });

  test('of basic: the pair as it was sent, and the password', () => {
    const found = needles([{ basic: { usernameField: 'sid', passwordField: 'token' } }], {
      sid: 'AC12345678',
      token: KEY,
    });
    expect(found).toContain(Buffer.from(`AC12345678:${KEY}`).toString('base64'));
    expect(found).toContain(KEY);
    expect(found).not.toContain('AC12345678');
  });

  test('none is shorter than 8 bytes, so that no honest answer is masked', () => {
    expect(needles([{ bearer: {} }], { value: 'short12' })).toEqual([]);
    expect(needles([{ basic: {} }], { value: 'pw' })).toEqual([]);
  });

  test('a lease has the same array each time', () => {
    const plan = Plan.compile({ inject: [{ bearer: {} }], placeholder: PLACEHOLDER });
    const lease = leaseOf({ value: KEY });
    expect(plan.needles(lease)).toBe(plan.needles(lease));
  });
});

describe('material is bytes (rule 13)', () => {
  test("a lease's bytes are zeroes after it is destroyed: every Buffer a plan made", () => {
    const made: Buffer[] = [];
    const statics = Buffer as unknown as Record<string, (...args: unknown[]) => Buffer>;
    const spies = ['alloc', 'allocUnsafe', 'allocUnsafeSlow', 'concat', 'from', 'of'].map((kind) => {
      const original = statics[kind]!;
      return vi.spyOn(statics, kind).mockImplementation((...args) => {
        const buffer = original.apply(Buffer, args);
        made.push(buffer);
        return buffer;
      });
    });
    const odd = `${KEY} "&/`;
    const lease = leaseOf({ value: odd, user: 'someone-secret' });
    made.length = 0;
    const inject: Placement[] = [
      { basic: { usernameField: 'user', passwordField: 'value' } },
      { header: { name: 'X-Key', format: 'Token {value}' } },
      { query: { name: 'key' } },
      { placeholder: { in: ['Header', 'Query', 'Path', 'Body'] } },
    ];
    const plan = Plan.compile({ inject, placeholder: PLACEHOLDER });
    const fields = [['X-Other', PLACEHOLDER]] as const;
    const placed = placedOf(plan.place(lease, requestOf({ path: `/${PLACEHOLDER}`, query: '?a', fields })));
    const needles = [...plan.needles(lease)];
    const copies = needles.map((needle) => needle.toString('latin1'));
    for (const spy of spies) spy.mockRestore();

    const holding = () =>
      made.filter((buffer) =>
        copies.some((copy) => buffer.includes(copy, 0, 'latin1') || buffer.includes(odd, 0, 'latin1')),
      );
    expect(holding().length).toBeGreaterThan(8);
    // What the caller overwrites after use, as it is told to.
    placed.target?.fill(0);
    expect(placed.linesOwned).toBe(true);
    placed.lines?.fill(0);
    lease.retire();
    expect(holding()).toEqual([]);
    for (const needle of needles) expect(needle.every((byte) => byte === 0)).toBe(true);
  });

  test('a refused placement leaves nothing behind', () => {
    const plan = Plan.compile({
      inject: [{ bearer: {} }, { query: { name: 'k', field: 'other' } }],
      placeholder: PLACEHOLDER,
    });
    const alloc = vi.spyOn(Buffer, 'alloc');
    expect(plan.place(leaseOf({ value: KEY }), requestOf())).toMatchObject({ code: 'CredentialUnavailable' });
    const made = alloc.mock.results.map(({ value }) => value as Buffer);
    alloc.mockRestore();
    // The first is the material's own.
    expect(made.slice(1).some((buffer) => buffer.includes(KEY))).toBe(false);
  });
});
