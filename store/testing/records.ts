import type { CredentialRecord, IntegrationRecord } from '../../api/protocol.ts';
import type { Session } from '../../api/session.ts';

/** Records for tests: the smallest ones that grant `default/key` to `session()`. */
export function credentialRecord(changes: Partial<CredentialRecord> = {}): CredentialRecord {
  return { hosts: ['api.example.com'], leaseSeconds: 900, consumerNamespaces: [], source: 'secret', ...changes };
}

export function integrationRecord(changes: Partial<IntegrationRecord> = {}): IntegrationRecord {
  return {
    createdAt: '2026-01-01T00:00:00Z',
    credential: 'default/key',
    hosts: ['api.example.com'],
    inject: [{ bearer: {} }],
    rules: [],
    limits: [],
    placeholder: 'sidekeyPlaceholder',
    allowedNetworks: [],
    allowPlaintext: false,
    subjects: { tags: ['llm'] },
    ...changes,
  };
}

export function session(changes: Partial<Session> = {}): Session {
  return {
    id: 'session-1',
    namespace: 'default',
    serviceAccount: 'default',
    role: 'coder',
    tags: ['llm'],
    requester: 'tester',
    startedAt: '2026-01-01T00:00:00.000Z',
    ...changes,
  };
}
