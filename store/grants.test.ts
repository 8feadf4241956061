import { describe, expect, test } from 'vitest';
import type { CredentialRecord, IntegrationRecord } from '../api/protocol.ts';
import { grantsFor, type Subject } from './grants.ts';
import { credentialRecord, integrationRecord, session } from './testing/records.ts';

function granted(options: {
  subject?: Partial<Subject>;
  integration?: Partial<IntegrationRecord>;
  key?: string;
  credential?: Partial<CredentialRecord>;
}): boolean {
  const { subject, integration, key = 'default/example', credential } = options;
  const record = integrationRecord(integration);
  const credentials = new Map([[record.credential, credentialRecord(credential)]]);
  return grantsFor(session(subject), [{ key, record }], credentials).length === 1;
}

test('a grant is the Integration without its subjects', () => {
  const { subjects: _, ...rest } = integrationRecord();
  const credentials = new Map([['default/key', credentialRecord()]]);
  expect(grantsFor(session(), [{ key: 'default/example', record: integrationRecord() }], credentials)).toEqual([
    { integration: 'default/example', ...rest },
  ]);
});

describe('subjects: AND across lists, OR within one, nobody without a list', () => {
  test.each([
    [{}, false],
    [{ tags: ['other', 'llm'] }, true],
    [{ tags: ['other'] }, false],
    [{ roles: ['coder'] }, true],
    [{ roles: ['reviewer', 'coder'], tags: ['llm'] }, true],
    [{ roles: ['reviewer'], tags: ['llm'] }, false],
    [{ serviceAccounts: ['default'] }, true],
    [{ serviceAccounts: ['other'] }, false],
    [{ serviceAccounts: ['default'], roles: ['coder'], tags: ['nothing'] }, false],
  ])('%j → %s', (subjects, expected) => {
    expect(granted({ integration: { subjects } })).toBe(expected);
  });

  test('a session without a role matches no list of roles', () => {
    expect(granted({ subject: { role: undefined }, integration: { subjects: { roles: ['coder'] } } })).toBe(false);
  });
});

describe('the namespace is the boundary', () => {
  test('an Integration of another namespace grants nothing', () => {
    expect(granted({ key: 'other/example' })).toBe(false);
    expect(granted({ subject: { namespace: 'other' } })).toBe(false);
  });

  test.each([
    [[], false],
    [['else'], false],
    [['default'], true],
    [['*'], true],
  ])('a credential of another namespace with consumers %j → %s', (consumerNamespaces, expected) => {
    expect(granted({ integration: { credential: 'team/key' }, credential: { consumerNamespaces } })).toBe(expected);
  });
});

test('no grant without the credential', () => {
  expect(grantsFor(session(), [{ key: 'default/example', record: integrationRecord() }], new Map())).toEqual([]);
});

test.each([
  [['api.example.com'], ['api.example.com'], true],
  [['api.example.com'], ['*.example.com'], true],
  [['*.example.com'], ['api.example.com'], false],
  [['api.example.com', 'evil.example.net'], ['api.example.com'], false],
  [['api.example.com:8443'], ['api.example.com'], false],
])('hosts %j within those of the credential %j → %s', (hosts, outer, expected) => {
  expect(granted({ integration: { hosts }, credential: { hosts: outer } })).toBe(expected);
});
