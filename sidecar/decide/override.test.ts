import { expect, test } from 'vitest';
import { Fields } from '../http1/fields.ts';
import { overridingField } from './override.ts';
import { compileRules } from './rules.ts';

const BY_METHOD = compileRules([{ action: 'Allow', methods: ['GET'] }]);
const BY_PATH = compileRules([{ action: 'Deny', paths: [{ type: 'PathPrefix', value: '/admin' }] }]);

function found(name: string, rules: Parameters<typeof overridingField>[1]): string | undefined {
  const fields = new Fields();
  fields.add('Accept', '*/*');
  fields.add(name, 'x');
  return overridingField(fields, rules);
}

test.each([
  'X-HTTP-Method-Override',
  'x-http-method',
  'X-Method-Override',
  'X_HTTP_METHOD_OVERRIDE',
  'X-HTTP_Method-Override',
])('%s is found where rules are about methods, and nowhere else', (name) => {
  expect(found(name, BY_METHOD)).toBe(name.toLowerCase());
  expect(found(name, BY_PATH)).toBeUndefined();
  expect(found(name, compileRules([]))).toBeUndefined();
});

test.each(['X-Original-URL', 'X-Rewrite-URL', 'x_original_url', 'X-Original-URI'])(
  '%s is found where rules are about paths, and nowhere else',
  (name) => {
    expect(found(name, BY_PATH)).toBe(name.toLowerCase());
    expect(found(name, BY_METHOD)).toBeUndefined();
  },
);

test('other fields are left alone', () => {
  for (const name of ['X-HTTP-Method-Overridden', 'X-Forwarded-Uri', 'Method']) {
    expect(found(name, BY_METHOD)).toBeUndefined();
    expect(found(name, BY_PATH)).toBeUndefined();
  }
});
